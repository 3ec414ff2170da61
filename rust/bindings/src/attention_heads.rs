//! Multi-head attention: arrays `[B, rows, heads, columns]` cross with their strides, so that the parts of one projection are read and
//! their gradients written where they lie.

use crate::arrays::{Number, empty, fresh, indices, read, slice, write};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::attention::heads::{self, Call, Chosen, Gradients, Mask, PAGE, Pages, Sizes, Statistics, View, ViewMut};
use weft_kernels::dropout::Dropout;
use weft_kernels::random::Stream;

type Untyped<'a, 'py> = &'a Bound<'py, PyUntypedArray>;
type Indices<'py> = Option<PyReadonlyArrayDyn<'py, i64>>;

/// First element and strides in elements of an array of four axes.
fn strided<T: Number>(name: &str, array: Untyped<'_, '_>) -> PyResult<(*mut T, [isize; 4])> {
    let py = array.py();
    let typed = array.as_any().cast::<PyArrayDyn<T>>().ok().filter(|a| a.ndim() == 4).ok_or_else(|| {
        let (expected, got) = (numpy::dtype::<T>(py), array.dtype());
        named(py, "ShapeError", format!("[attention] {name}: expected 4 axes of {expected}, got {} of {got}", array.ndim()))
    })?;
    let mut strides = [0; 4];
    for (to, &bytes) in strides.iter_mut().zip(typed.strides()) {
        *to = bytes / size_of::<T>() as isize;
    }
    // NumPy gives an axis of one element, and every axis of an empty array, any stride.
    if array.shape()[3] <= 1 || array.len() == 0 {
        strides[3] = 1;
    }
    Ok((typed.data(), strides))
}

pub fn view<'a, T: Number>(name: &str, array: &'a Bound<'_, PyUntypedArray>) -> PyResult<View<'a, T>> {
    let (pointer, strides) = strided::<T>(name, array)?;
    // SAFETY: NumPy's strides stay within the array, which outlives the view.
    Ok(unsafe { View::from_raw(pointer, strides) })
}

/// An array that the caller has made for this call, so that nobody else looks at it.
fn view_mut<'a, T: Number>(name: &str, array: &'a Bound<'_, PyUntypedArray>) -> PyResult<ViewMut<'a, T>> {
    let (pointer, [b, r, h, c]) = strided::<T>(name, array)?;
    if c != 1 {
        return Err(named(array.py(), "ShapeError", format!("{name}: expected columns side by side")));
    }
    // SAFETY: as above; the Python layer hands in fresh arrays, or parts of one that do not overlap.
    Ok(unsafe { ViewMut::from_raw(pointer, [b, r, h]) })
}

/// What every call is made of, as Python hands it over.
#[derive(FromPyObject)]
struct Request<'py>(
    /// query [B, T, N, D], key [B, S, heads, D], value [B, S, heads, E]
    [Bound<'py, PyUntypedArray>; 3],
    /// scale
    f64,
    /// causal
    bool,
    /// window
    Option<usize>,
    /// key lengths [B]
    Indices<'py>,
    /// rows of each sequence [B]
    Indices<'py>,
    /// starts [B]
    Indices<'py>,
    /// biases [B, N, T, S], broadcast
    Vec<Bound<'py, PyUntypedArray>>,
    /// dropout: p, key, stream
    Option<(f64, u64, u64)>,
    /// pages [B, S / 16] of a cache: key is then [pages, 16, heads, D], value [pages, 16, heads, E]
    Indices<'py>,
);

impl<'py> Request<'py> {
    fn sizes(&self) -> Sizes {
        let [q, k, v] = self.0.each_ref().map(|a| a.shape());
        let (batch, targets, heads, width) = (q[0], q[1], q[2], q[3]);
        let sources = self.9.as_ref().map_or(k[1], |table| table.shape()[1] * PAGE);
        Sizes { batch, heads, key_heads: k[2], targets, sources, width, values: v[3] }
    }

    /// Runs `f` on the call without the interpreter's lock.
    fn run<T: Number>(&self, py: Python<'py>, f: impl FnOnce(&Call<'_, T>) -> weft_kernels::Result<()> + Send) -> PyResult<()> {
        let sizes = self.sizes();
        let pages = self.9.as_ref().map(|table| indices(py, "pages", table)).transpose()?;
        let (first, keys) = if pages.is_some() { (self.0[1].shape()[0], PAGE) } else { (sizes.batch, sizes.sources) };
        if pages.is_some_and(|table| table.iter().any(|&page| page < 0 || page as usize >= first)) {
            return Err(named(py, "ShapeError", format!("[attention] pages: expected numbers below {first}")));
        }
        for (name, array, expected) in [
            ("query", &self.0[0], [sizes.batch, sizes.targets, sizes.heads, sizes.width]),
            ("key", &self.0[1], [first, keys, sizes.key_heads, sizes.width]),
            ("value", &self.0[2], [first, keys, sizes.key_heads, sizes.values]),
        ] {
            if array.shape() != expected {
                return Err(named(
                    py,
                    "ShapeError",
                    format!("[attention] {name}: expected {expected:?}, got {:?}", array.shape()),
                ));
            }
        }
        let [q, k, v] = [view("query", &self.0[0])?, view("key", &self.0[1])?, view("value", &self.0[2])?];
        let mut biases = Vec::new();
        for bias in &self.7 {
            if bias.shape() != [sizes.batch, sizes.heads, sizes.targets, sizes.sources] {
                return Err(named(py, "ShapeError", format!("[attention] bias: got {:?}", bias.shape())));
            }
            let (pointer, [b, h, r, c]) = strided::<T>("bias", bias)?;
            let c = if sizes.sources <= 1 || bias.len() == 0 { 0 } else { c };
            // SAFETY: as for a view; the axes in the kernel's order.
            biases.push(unsafe { View::from_raw(pointer, [b, r, h, c]) });
        }
        let lengths = self.4.as_ref().map(|l| indices(py, "lengths", l)).transpose()?;
        let rows = self.5.as_ref().map(|l| indices(py, "rows", l)).transpose()?;
        let starts = self.6.as_ref().map(|l| indices(py, "starts", l)).transpose()?;
        let mask = Mask { lengths, rows, starts, causal: self.2, window: self.3, biases: &biases };
        let dropout = self.8.map(|(p, key, stream)| Dropout { stream: Stream { key, stream }, p });
        let call = Call { sizes, q, k, v, pages, scale: self.1, mask, dropout };
        without_gil(py, || f(&call))
    }
}

fn forward<'py, T: Number>(
    py: Python<'py>,
    request: &Request<'py>,
    context: Untyped<'_, 'py>,
    wants_statistics: bool,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let s = request.sizes();
    let to = view_mut::<T>("context", context)?;
    if !wants_statistics {
        request.run::<T>(py, |call| heads::forward(call, to, None))?;
        return Ok(None);
    }
    let size = [s.batch, s.heads, s.targets];
    let (maximum, inverse) = (empty::<T>(py, &size)?, empty::<T>(py, &size)?);
    let statistics = Statistics { maximum: fresh(&maximum), inverse: fresh(&inverse) };
    request.run::<T>(py, |call| heads::forward(call, to, Some(statistics)))?;
    Ok(Some((maximum.into_any(), inverse.into_any())))
}

fn backward<'py, T: Number>(
    py: Python<'py>,
    request: &Request<'py>,
    context: Untyped<'_, 'py>,
    statistics: [Untyped<'_, 'py>; 2],
    d_context: Untyped<'_, 'py>,
    gradients: &[Bound<'py, PyUntypedArray>; 3],
) -> PyResult<()> {
    let (context, d_context) = (view::<T>("context", context)?, view::<T>("d_context", d_context)?);
    let [maximum, inverse] = [read::<T>("maximum", statistics[0])?, read::<T>("inverse", statistics[1])?];
    let (maximum, inverse) = (slice(py, "maximum", &maximum)?, slice(py, "inverse", &inverse)?);
    let [q, k, v] = gradients.each_ref();
    let to = Gradients { q: view_mut("query gradient", q)?, k: view_mut("key gradient", k)?, v: view_mut("value gradient", v)? };
    request.run::<T>(py, |call| heads::backward(call, context, maximum, inverse, d_context, to))
}

fn weights<'py, T: Number>(
    py: Python<'py>,
    request: &Request<'py>,
    statistics: [Untyped<'_, 'py>; 2],
    chosen: (&[i64], &[i64], bool),
) -> PyResult<Bound<'py, PyAny>> {
    let s = request.sizes();
    let (heads, rows, mean) = chosen;
    let mut size = vec![s.batch, heads.len(), rows.len(), s.sources];
    if mean {
        size.remove(1);
    }
    let [maximum, inverse] = [read::<T>("maximum", statistics[0])?, read::<T>("inverse", statistics[1])?];
    let (maximum, inverse) = (slice(py, "maximum", &maximum)?, slice(py, "inverse", &inverse)?);
    let weights = empty::<T>(py, &size)?;
    let to = fresh(&weights);
    request.run::<T>(py, |call| heads::weights(call, maximum, inverse, Chosen { heads, rows, mean }, to))?;
    Ok(weights.into_any())
}

/// heads_forward(request, context [B, T, N, E], wants_statistics) -> None, or maximum and inverse sum [B, N, T]; the context is written.
/// request: ([query [B, T, N, D], key, value], scale, causal, window, lengths, rows, starts, biases [B, N, T, S], (p, key, stream) or None,
/// pages or None)
#[pyfunction]
#[pyo3(signature = (request, context, wants_statistics))]
fn heads_forward<'py>(
    py: Python<'py>,
    request: Request<'py>,
    context: &Bound<'py, PyUntypedArray>,
    wants_statistics: bool,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    by_dtype!(context, T => forward::<T>(py, &request, context, wants_statistics))
}

/// heads_backward(request, context, maximum, inverse, d_context, [d query, d key, d value]); the gradients are written.
#[pyfunction]
#[pyo3(signature = (request, context, maximum, inverse, d_context, gradients))]
fn heads_backward<'py>(
    py: Python<'py>,
    request: Request<'py>,
    context: &Bound<'py, PyUntypedArray>,
    maximum: &Bound<'py, PyUntypedArray>,
    inverse: &Bound<'py, PyUntypedArray>,
    d_context: &Bound<'py, PyUntypedArray>,
    gradients: [Bound<'py, PyUntypedArray>; 3],
) -> PyResult<()> {
    by_dtype!(context, T => backward::<T>(py, &request, context, [maximum, inverse], d_context, &gradients))
}

/// heads_weights(request, maximum, inverse, heads, rows, mean) -> weights [B, heads, rows, S], or [B, rows, S]
#[pyfunction]
#[pyo3(signature = (request, maximum, inverse, heads, rows, mean))]
fn heads_weights<'py>(
    py: Python<'py>,
    request: Request<'py>,
    maximum: &Bound<'py, PyUntypedArray>,
    inverse: &Bound<'py, PyUntypedArray>,
    heads: Vec<i64>,
    rows: Vec<i64>,
    mean: bool,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(maximum, T => weights::<T>(py, &request, [maximum, inverse], (&heads, &rows, mean)))
}

/// The pages of a layer, borrowed: keys [pages, heads, D, 16], values [pages, heads, 16, E].
pub struct Pool<'py, T: Number> {
    keys: PyReadwriteArrayDyn<'py, T>,
    values: PyReadwriteArrayDyn<'py, T>,
    sizes: [usize; 3],
}

impl<'py, T: Number> Pool<'py, T> {
    pub fn of(keys: Untyped<'_, 'py>, values: Untyped<'_, 'py>) -> PyResult<Self> {
        let (k, v) = (keys.shape(), values.shape());
        if k.len() != 4 || v.len() != 4 || k[..2] != v[..2] || k[3] != PAGE || v[2] != PAGE || v[3] < k[2] {
            return Err(named(keys.py(), "ShapeError", format!("[pages] keys and values: got {k:?} and {v:?}")));
        }
        Ok(Self { sizes: [k[1], k[2], v[3]], keys: write::<T>("keys", keys)?, values: write::<T>("values", values)? })
    }

    pub fn pages(&mut self, py: Python<'_>) -> PyResult<Pages<'_, T>> {
        let contiguous = |_| named(py, "ShapeError", "[pages] keys and values: expected C-contiguous arrays".into());
        let [heads, width, padded] = self.sizes;
        let keys = self.keys.as_slice_mut().map_err(contiguous)?;
        Ok(Pages { heads, width, padded, keys, values: self.values.as_slice_mut().map_err(contiguous)? })
    }
}

/// Runs `f` on the pages of a layer.
fn paged<T: Number>(
    keys: Untyped<'_, '_>,
    values: Untyped<'_, '_>,
    f: impl FnOnce(&mut Pages<'_, T>) -> weft_kernels::Result<()> + Send,
) -> PyResult<()> {
    let py = keys.py();
    let mut pool = Pool::of(keys, values)?;
    let mut pages = pool.pages(py)?;
    without_gil(py, || f(&mut pages))
}

/// pages_copy(keys, values, from [n], to [n], used [n]): the first positions of pages become those of others, in place
#[pyfunction]
#[pyo3(signature = (keys, values, from_pages, to_pages, used))]
fn pages_copy<'py>(
    py: Python<'py>,
    keys: &Bound<'py, PyUntypedArray>,
    values: &Bound<'py, PyUntypedArray>,
    from_pages: PyReadonlyArrayDyn<'py, i64>,
    to_pages: PyReadonlyArrayDyn<'py, i64>,
    used: PyReadonlyArrayDyn<'py, i64>,
) -> PyResult<()> {
    let (from, to) = (indices(py, "from", &from_pages)?, indices(py, "to", &to_pages)?);
    let used = indices(py, "used", &used)?;
    by_dtype!(keys, T => paged::<T>(keys, values, |pages| pages.copy(from, to, used)))
}

/// pages_write(keys, values, pages [B, T], slots [B, T], k [B, T, heads, D], v): new positions, in place
#[pyfunction]
#[pyo3(signature = (keys, values, pages, slots, k, v))]
fn pages_write<'py>(
    py: Python<'py>,
    keys: &Bound<'py, PyUntypedArray>,
    values: &Bound<'py, PyUntypedArray>,
    pages: PyReadonlyArrayDyn<'py, i64>,
    slots: PyReadonlyArrayDyn<'py, i64>,
    k: &Bound<'py, PyUntypedArray>,
    v: &Bound<'py, PyUntypedArray>,
) -> PyResult<()> {
    let shape = pages.shape().to_vec();
    let wished =
        |width: usize| shape.len() == 2 && [k, v].iter().all(|a| a.shape() == [shape[0], shape[1], keys.shape()[1], width]);
    if keys.shape().len() != 4 || !wished(keys.shape()[2]) {
        return Err(named(
            py,
            "ShapeError",
            format!("[pages] k and v: got {:?} and {:?} for places {shape:?}", k.shape(), v.shape()),
        ));
    }
    let (pages, slots) = (indices(py, "pages", &pages)?, indices(py, "slots", &slots)?);
    by_dtype!(keys, T => {
        let (k, v) = (view::<T>("k", k)?, view::<T>("v", v)?);
        paged::<T>(keys, values, |to| to.write(pages, slots, shape[1], k, v))
    })
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(heads_forward, module)?)?;
    module.add_function(wrap_pyfunction!(heads_backward, module)?)?;
    module.add_function(wrap_pyfunction!(heads_weights, module)?)?;
    module.add_function(wrap_pyfunction!(pages_copy, module)?)?;
    module.add_function(wrap_pyfunction!(pages_write, module)?)
}
