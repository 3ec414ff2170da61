//! Products, and matrices packed once.

use crate::activation::single;
use crate::arrays::{Number, empty, fresh, read, slice};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::ndarray::ArrayViewD;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::dropout::Dropout;
use weft_kernels::matmul::{self, PackedMatrix as Packed, Right, Start};
use weft_kernels::parallel::Shared;
use weft_kernels::random::Stream;
use weft_kernels::{MatrixView, MatrixViewMut};

/// A weight matrix in panels, for one dtype. Made anew when the parameter's generation changes; never saved.
#[pyclass(frozen, module = "weft._native")]
pub struct PackedMatrix(Kind);

impl PackedMatrix {
    /// The packed numbers, if they are of this type.
    pub fn of<T: Held>(&self, py: Python<'_>, who: &str) -> PyResult<&Packed<T>> {
        T::unwrap(&self.0).ok_or_else(|| named(py, "DtypeError", format!("[{who}] the weight was packed in another dtype")))
    }
}

/// One packed matrix or the other.
pub enum Kind {
    Single(Packed<f32>),
    Double(Packed<f64>),
}

/// Which variant holds numbers of this type.
pub trait Held: Number {
    fn wrap(packed: Packed<Self>) -> Kind;
    fn unwrap(kind: &Kind) -> Option<&Packed<Self>>;
}

impl Held for f32 {
    fn wrap(packed: Packed<f32>) -> Kind {
        Kind::Single(packed)
    }
    fn unwrap(kind: &Kind) -> Option<&Packed<f32>> {
        if let Kind::Single(packed) = kind { Some(packed) } else { None }
    }
}

impl Held for f64 {
    fn wrap(packed: Packed<f64>) -> Kind {
        Kind::Double(packed)
    }
    fn unwrap(kind: &Kind) -> Option<&Packed<f64>> {
        if let Kind::Double(packed) = kind { Some(packed) } else { None }
    }
}

/// The last two axes of an array at a leading index, any strides.
fn matrix<'a, T: Number>(view: &ArrayViewD<'a, T>, batch: usize) -> MatrixView<'a, T> {
    let n = view.ndim();
    let (shape, strides) = (view.shape(), view.strides());
    let offset = if n == 3 { batch as isize * strides[0] } else { 0 };
    // SAFETY: NumPy's shape and strides describe memory that the borrow keeps alive; the index is below the first axis.
    unsafe { MatrixView::from_raw(view.as_ptr().offset(offset), shape[n - 2], shape[n - 1], strides[n - 2], strides[n - 1]) }
}

fn product<'py, T: Number>(
    py: Python<'py>,
    a: &Bound<'py, PyUntypedArray>,
    b: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    let (left, right): (PyReadonlyArrayDyn<'_, T>, PyReadonlyArrayDyn<'_, T>) = (read("a", a)?, read("b", b)?);
    let (left, right) = (left.as_array(), right.as_array());
    let (p, q) = (left.ndim(), right.ndim());
    let agree = (p == 2 || p == 3) && p == q && left.shape()[p - 1] == right.shape()[q - 2];
    if !agree || (p == 3 && left.shape()[0] != right.shape()[0]) {
        let text = format!("[matmul] expected [M, K] and [K, N], or batches of them, got {:?} and {:?}", a.shape(), b.shape());
        return Err(named(py, "ShapeError", text));
    }
    let (m, n) = (left.shape()[p - 2], right.shape()[q - 1]);
    let c = if p == 3 { empty::<T>(py, &[left.shape()[0], m, n])? } else { empty::<T>(py, &[m, n])? };
    let out = fresh(&c);
    without_gil(py, || {
        if p == 2 {
            matmul::product(matrix(&left, 0), Right::View(matrix(&right, 0)), MatrixViewMut::new(out, m, n), Start::Zero);
        } else {
            let to = Shared(out.as_mut_ptr());
            // SAFETY: product i writes its own m·n numbers.
            let c = |i: usize| unsafe { to.matrix(i * m * n, m, n) };
            matmul::batched(left.shape()[0], |i| matrix(&left, i), |i| matrix(&right, i), c, false);
        }
        Ok(())
    })?;
    Ok(c.into_any())
}

/// matmul(a, b) -> c: [M, K]·[K, N] or [B, M, K]·[B, K, N], any strides
#[pyfunction(name = "matmul")]
fn matmul_py<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyUntypedArray>,
    b: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(a, T => product::<T>(py, a, b))
}

fn gradient_as<'py, T: Number>(
    py: Python<'py>,
    g: &Bound<'py, PyUntypedArray>,
    x: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    let ([rows, outputs], [others, inputs]) = (pair(g)?, pair(x)?);
    if rows != others {
        return Err(named(py, "ShapeError", format!("[linear] expected as many gradients as inputs, got {rows} and {others}")));
    }
    let (left, right) = (read::<T>("gradient", g)?, read::<T>("input", x)?);
    let (g, x) = (slice(py, "gradient", &left)?, slice(py, "input", &right)?);
    let to = empty::<T>(py, &[outputs, inputs])?;
    let out = fresh(&to);
    without_gil(py, || {
        matmul::weight_gradient(MatrixView::new(x, rows, inputs), MatrixView::new(g, rows, outputs), out);
        Ok(())
    })?;
    Ok(to.into_any())
}

fn pair(array: &Bound<'_, PyUntypedArray>) -> PyResult<[usize; 2]> {
    let text = || named(array.py(), "ShapeError", format!("[linear] expected a matrix, got {:?}", array.shape()));
    array.shape().try_into().map_err(|_| text())
}

/// weight_gradient(g [N, O], x [N, I]) -> gᵀ·x [O, I]
#[pyfunction]
fn weight_gradient<'py>(
    py: Python<'py>,
    g: &Bound<'py, PyUntypedArray>,
    x: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(g, T => gradient_as::<T>(py, g, x))
}

fn pack_as<T: Held>(py: Python<'_>, b: &Bound<'_, PyUntypedArray>) -> PyResult<PackedMatrix> {
    let array = read::<T>("b", b)?;
    let view = array.as_array();
    if view.ndim() != 2 {
        return Err(named(py, "ShapeError", format!("[matmul] expected a matrix to pack, got {:?}", b.shape())));
    }
    let packed = without_gil(py, || Ok(Packed::new(matrix(&view, 0))))?;
    Ok(PackedMatrix(T::wrap(packed)))
}

/// pack(b [K, N], any strides) -> PackedMatrix
#[pyfunction]
fn pack(py: Python<'_>, b: &Bound<'_, PyUntypedArray>) -> PyResult<PackedMatrix> {
    by_dtype!(b, T => pack_as::<T>(py, b))
}

type Output<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

fn linear_as<'py, T: Held>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    packed: &PackedMatrix,
    bias: Option<&Bound<'py, PyUntypedArray>>,
    activation: Option<&str>,
    dropout: Option<Dropout>,
    residual: Option<&Bound<'py, PyUntypedArray>>,
    keep: bool,
) -> PyResult<Output<'py>> {
    let weight = packed.of::<T>(py, "linear")?;
    let input = read::<T>("input", x)?;
    let (rows, data) = (x.shape()[0], slice(py, "input", &input)?);
    let [bias, residual] = [("bias", bias), ("residual", residual)].map(|(name, a)| a.map(|a| read::<T>(name, a)).transpose());
    let (bias, residual) = (bias?, residual?);
    let activation = activation.map(|name| single(py, name)).transpose()?;
    if x.shape()[1] != weight.rows() {
        let text = format!("[linear] input: expected last dimension {}, got {:?}", weight.rows(), x.shape());
        return Err(named(py, "ShapeError", text));
    }
    let y = empty::<T>(py, &[rows, weight.cols()])?;
    let before = keep.then(|| empty::<T>(py, &[rows, weight.cols()])).transpose()?;
    let with = matmul::Linear {
        bias: bias.as_ref().map_or(Ok(&[][..]), |b| slice(py, "bias", b))?,
        activation,
        dropout,
        before: before.as_ref().map_or(&mut [][..], fresh),
        residual: residual.as_ref().map_or(Ok(&[][..]), |r| slice(py, "residual", r))?,
    };
    let out = fresh(&y);
    without_gil(py, || matmul::linear(data, weight, with, out))?;
    Ok((y.into_any(), before.map(Bound::into_any)))
}

/// linear(x [N, I], packed [I, O], bias [O] or None, activation or None, (p, key, stream) of a dropout or None, residual [N, O] or None,
/// keep) -> [N, O], and the numbers before the activation if they are to be kept
#[pyfunction]
#[pyo3(signature = (x, packed, bias, activation, dropout, residual, keep))]
fn linear<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    packed: &PackedMatrix,
    bias: Option<&Bound<'py, PyUntypedArray>>,
    activation: Option<&str>,
    dropout: Option<(f64, u64, u64)>,
    residual: Option<&Bound<'py, PyUntypedArray>>,
    keep: bool,
) -> PyResult<Output<'py>> {
    let dropout = dropout.map(|(p, key, stream)| Dropout { stream: Stream { key, stream }, p });
    by_dtype!(x, T => linear_as::<T>(py, x, packed, bias, activation, dropout, residual, keep))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PackedMatrix>()?;
    module.add_function(wrap_pyfunction!(matmul_py, module)?)?;
    module.add_function(wrap_pyfunction!(pack, module)?)?;
    module.add_function(wrap_pyfunction!(weight_gradient, module)?)?;
    module.add_function(wrap_pyfunction!(linear, module)?)
}
