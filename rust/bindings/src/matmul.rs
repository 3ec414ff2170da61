//! Products, and matrices packed once.

use crate::arrays::{Number, empty, fresh, read, slice};
use crate::by_dtype;
use crate::errors::named;
use crate::without_gil::without_gil;
use numpy::ndarray::ArrayViewD;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::matmul::{self, PackedMatrix as Packed, Right, Start};
use weft_kernels::parallel::Shared;
use weft_kernels::{MatrixView, MatrixViewMut};

/// A weight matrix in panels, for one dtype. Made anew when the parameter's generation changes; never saved.
#[pyclass(frozen, module = "weft._native")]
struct PackedMatrix(Kind);

enum Kind {
    Single(Packed<f32>),
    Double(Packed<f64>),
}

/// Which variant holds numbers of this type.
trait Held: Number {
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

fn linear_as<'py, T: Held>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    packed: &PackedMatrix,
    bias: Option<&Bound<'py, PyUntypedArray>>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(weight) = T::unwrap(&packed.0) else {
        return Err(named(py, "DtypeError", "[linear] the weight was packed in another dtype".into()));
    };
    let input = read::<T>("input", x)?;
    let (rows, data) = (x.shape()[0], slice(py, "input", &input)?);
    let bias = bias.map(|b| read::<T>("bias", b)).transpose()?;
    let bias = bias.as_ref().map(|b| slice(py, "bias", b)).transpose()?;
    if x.shape()[1] != weight.rows() {
        let text = format!("[linear] input: expected last dimension {}, got {:?}", weight.rows(), x.shape());
        return Err(named(py, "ShapeError", text));
    }
    let y = empty::<T>(py, &[rows, weight.cols()])?;
    let out = fresh(&y);
    without_gil(py, || {
        let to = MatrixViewMut::new(out, rows, weight.cols());
        let start = bias.map_or(Start::Zero, Start::Bias);
        matmul::product(MatrixView::new(data, rows, weight.rows()), Right::Packed(weight), to, start);
        Ok(())
    })?;
    Ok(y.into_any())
}

/// linear(x [N, K], packed [K, O], bias [O] or None) -> [N, O]
#[pyfunction]
#[pyo3(signature = (x, packed, bias))]
fn linear<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    packed: &PackedMatrix,
    bias: Option<&Bound<'py, PyUntypedArray>>,
) -> PyResult<Bound<'py, PyAny>> {
    by_dtype!(x, T => linear_as::<T>(py, x, packed, bias))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PackedMatrix>()?;
    module.add_function(wrap_pyfunction!(matmul_py, module)?)?;
    module.add_function(wrap_pyfunction!(pack, module)?)?;
    module.add_function(wrap_pyfunction!(linear, module)?)
}
