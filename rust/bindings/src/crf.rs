//! Linear-chain conditional random fields.

use crate::arrays::{Number, empty, fresh, indices, read, shape, slice};
use crate::by_dtype;
use crate::without_gil::without_gil;
use numpy::{IntoPyArray, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray};
use pyo3::prelude::*;
use weft_kernels::crf::{self, Chain, Gradients, Sequences};

type Any<'py> = Bound<'py, PyAny>;
type Raw<'py> = Bound<'py, PyUntypedArray>;
type Indices<'py> = PyReadonlyArrayDyn<'py, i64>;
/// Transitions, start, end.
type Parameters<'py> = (Raw<'py>, Raw<'py>, Raw<'py>);

/// The arrays of a call, held while the kernel reads them.
struct Read<'py, T: Number> {
    emissions: PyReadonlyArrayDyn<'py, T>,
    parameters: [PyReadonlyArrayDyn<'py, T>; 3],
    shape: Vec<usize>,
}

impl<'py, T: Number> Read<'py, T> {
    fn new(emissions: &Raw<'py>, (transitions, start, end): &Parameters<'py>) -> PyResult<Self> {
        Ok(Self {
            emissions: read::<T>("emissions", emissions)?,
            parameters: [read::<T>("transitions", transitions)?, read::<T>("start", start)?, read::<T>("end", end)?],
            shape: shape(emissions),
        })
    }

    fn of<'a>(&'a self, py: Python<'_>, lengths: &'a [i64]) -> PyResult<(Chain<'a, T>, Sequences<'a, T>)> {
        let [transitions, start, end] = &self.parameters;
        let chain = Chain {
            tags: self.shape[2],
            transitions: slice(py, "transitions", transitions)?,
            start: slice(py, "start", start)?,
            end: slice(py, "end", end)?,
        };
        Ok((chain, Sequences { steps: self.shape[1], emissions: slice(py, "emissions", &self.emissions)?, lengths }))
    }
}

fn forward<'py, T: Number>(
    py: Python<'py>,
    emissions: &Raw<'py>,
    parameters: &Parameters<'py>,
    tags: &Indices<'py>,
    lengths: &Indices<'py>,
) -> PyResult<(Any<'py>, Any<'py>)> {
    let held = Read::<T>::new(emissions, parameters)?;
    let (chain, x) = held.of(py, indices(py, "lengths", lengths)?)?;
    let tags = indices(py, "tags", tags)?;
    let (losses, alphas) = (empty::<T>(py, &[held.shape[0]])?, empty::<T>(py, &held.shape)?);
    let (out, cache) = (fresh(&losses), fresh(&alphas));
    without_gil(py, || crf::forward(chain, x, tags, out, cache))?;
    Ok((losses.into_any(), alphas.into_any()))
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    emissions: &Raw<'py>,
    parameters: &Parameters<'py>,
    (tags, lengths): (&Indices<'py>, &Indices<'py>),
    alphas: &Raw<'py>,
    scales: &Raw<'py>,
) -> PyResult<[Any<'py>; 4]> {
    let held = Read::<T>::new(emissions, parameters)?;
    let (chain, x) = held.of(py, indices(py, "lengths", lengths)?)?;
    let tags = indices(py, "tags", tags)?;
    let (alphas, scales) = (read::<T>("alphas", alphas)?, read::<T>("scales", scales)?);
    let (alphas, scales) = (slice(py, "alphas", &alphas)?, slice(py, "scales", &scales)?);
    let k = chain.tags;
    let made = [empty::<T>(py, &held.shape)?, empty::<T>(py, &[k, k])?, empty::<T>(py, &[k])?, empty::<T>(py, &[k])?];
    let [emissions, transitions, start, end] = made.each_ref().map(|a| fresh(a));
    without_gil(py, || crf::backward(chain, x, tags, alphas, scales, Gradients { emissions, transitions, start, end }))?;
    Ok(made.map(Bound::into_any))
}

fn viterbi<'py, T: Number>(
    py: Python<'py>,
    emissions: &Raw<'py>,
    parameters: &Parameters<'py>,
    lengths: &Indices<'py>,
) -> PyResult<(Any<'py>, Any<'py>)> {
    let held = Read::<T>::new(emissions, parameters)?;
    let (chain, x) = held.of(py, indices(py, "lengths", lengths)?)?;
    let mut paths = vec![0i64; held.shape[0] * held.shape[1]];
    let scores = empty::<T>(py, &[held.shape[0]])?;
    let out = fresh(&scores);
    without_gil(py, || crf::viterbi(chain, x, &mut paths, out))?;
    let tags = paths.into_pyarray(py).reshape([held.shape[0], held.shape[1]])?;
    Ok((tags.into_any(), scores.into_any()))
}

/// crf_forward(emissions [B, T, K], (transitions [K, K], start [K], end [K]), tags [B, T], lengths [B]) -> losses [B], alphas [B, T, K]
#[pyfunction]
fn crf_forward<'py>(
    py: Python<'py>,
    emissions: &Raw<'py>,
    parameters: Parameters<'py>,
    tags: Indices<'py>,
    lengths: Indices<'py>,
) -> PyResult<(Any<'py>, Any<'py>)> {
    by_dtype!(emissions, T => forward::<T>(py, emissions, &parameters, &tags, &lengths))
}

/// crf_backward(emissions, parameters, tags, lengths, alphas, scales [B] or [1]) -> gradients of emissions, transitions, start, end
#[pyfunction]
fn crf_backward<'py>(
    py: Python<'py>,
    emissions: &Raw<'py>,
    parameters: Parameters<'py>,
    tags: Indices<'py>,
    lengths: Indices<'py>,
    alphas: &Raw<'py>,
    scales: &Raw<'py>,
) -> PyResult<[Any<'py>; 4]> {
    by_dtype!(emissions, T => backward::<T>(py, emissions, &parameters, (&tags, &lengths), alphas, scales))
}

/// crf_viterbi(emissions, parameters, lengths) -> the best tags [B, T], their scores [B]
#[pyfunction]
fn crf_viterbi<'py>(
    py: Python<'py>,
    emissions: &Raw<'py>,
    parameters: Parameters<'py>,
    lengths: Indices<'py>,
) -> PyResult<(Any<'py>, Any<'py>)> {
    by_dtype!(emissions, T => viterbi::<T>(py, emissions, &parameters, &lengths))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(crf_forward, module)?)?;
    module.add_function(wrap_pyfunction!(crf_backward, module)?)?;
    module.add_function(wrap_pyfunction!(crf_viterbi, module)?)
}
