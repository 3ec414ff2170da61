//! How arrays cross: borrowed as slices on the way in, backed by Weft's own reused memory on the way out.

use crate::errors::named;
use numpy::ndarray::{ArrayViewMutD, IxDyn};
use numpy::{Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use weft_kernels::Real;
use weft_kernels::workspace::Buffer;

/// A number that kernels compute with and NumPy knows.
pub trait Number: Real + Element {}
impl Number for f32 {}
impl Number for f64 {}

/// An array of any shape.
pub type Array<'py, T> = Bound<'py, PyArrayDyn<T>>;

/// Owner of an array's memory: gives it back to the cache when the last view has gone.
#[pyclass(frozen, module = "weft._native")]
struct Memory(Buffer);

/// An array of any numbers, from Weft's reused memory.
pub fn empty<'py, T: Number>(py: Python<'py>, shape: &[usize]) -> PyResult<Array<'py, T>> {
    let len: usize = shape.iter().product();
    let memory = Memory(Buffer::take(len * size_of::<T>()));
    let pointer = memory.0.as_mut_ptr().cast::<T>();
    let owner = Bound::new(py, memory)?;
    // SAFETY: the buffer is aligned, initialised, long enough, and kept alive by the owner, which becomes the array's base.
    unsafe {
        let view = ArrayViewMutD::from_shape_ptr(IxDyn(shape), pointer);
        Ok(PyArrayDyn::borrow_from_array(&view, owner.into_any()))
    }
}

/// The shape of an array.
pub fn shape(array: &Bound<'_, PyUntypedArray>) -> Vec<usize> {
    array.shape().to_vec()
}

/// A borrowed input.
pub fn read<'py, T: Number>(name: &str, array: &Bound<'py, PyUntypedArray>) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let py = array.py();
    let typed = array
        .as_any()
        .cast::<PyArrayDyn<T>>()
        .map_err(|_| named(py, "DtypeError", format!("{name}: expected {}, got {}", numpy::dtype::<T>(py), array.dtype())))?;
    let view = typed.try_readonly().map_err(|e| named(py, "ShapeError", format!("{name}: {e}")))?;
    Ok(view)
}

/// The numbers of a C-contiguous input.
pub fn slice<'a, T: Number>(py: Python<'_>, name: &str, array: &'a PyReadonlyArrayDyn<'_, T>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| named(py, "ShapeError", format!("{name}: expected a C-contiguous array")))
}

/// An index array's numbers.
pub fn indices<'a>(py: Python<'_>, name: &str, array: &'a PyReadonlyArrayDyn<'_, i64>) -> PyResult<&'a [i64]> {
    array.as_slice().map_err(|_| named(py, "ShapeError", format!("{name}: expected a C-contiguous array")))
}

/// A borrowed array that is written in place.
pub fn write<'py, T: Number>(name: &str, array: &Bound<'py, PyUntypedArray>) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
    let py = array.py();
    let typed = array
        .as_any()
        .cast::<PyArrayDyn<T>>()
        .map_err(|_| named(py, "DtypeError", format!("{name}: expected {}, got {}", numpy::dtype::<T>(py), array.dtype())))?;
    typed.try_readwrite().map_err(|e| named(py, "ShapeError", format!("{name}: {e}")))
}

/// Writable numbers of an array just made by [`empty`], which nobody else has seen.
#[allow(clippy::mut_from_ref)]
pub fn fresh<'a, T: Number>(array: &'a Array<'_, T>) -> &'a mut [T] {
    // SAFETY: the array is contiguous, new, and known to this function's caller alone.
    unsafe { array.as_slice_mut().unwrap_or(&mut []) }
}

/// Writable numbers of the array that a gradient is added to, or else of one just made by [`empty`].
pub fn sum_or_fresh<'a, T: Number>(
    py: Python<'_>,
    name: &str,
    sum: &'a mut Option<PyReadwriteArrayDyn<'_, T>>,
    new: &'a Array<'_, T>,
) -> PyResult<&'a mut [T]> {
    match sum {
        Some(sum) => sum.as_slice_mut().map_err(|_| named(py, "ShapeError", format!("{name}: expected a C-contiguous array"))),
        None => Ok(fresh(new)),
    }
}

/// Whether an array holds f64 (else it must hold f32).
pub fn is_double(array: &Bound<'_, PyUntypedArray>) -> PyResult<bool> {
    let py = array.py();
    let dtype = array.dtype();
    if dtype.is_equiv_to(&numpy::dtype::<f32>(py)) {
        Ok(false)
    } else if dtype.is_equiv_to(&numpy::dtype::<f64>(py)) {
        Ok(true)
    } else {
        Err(named(py, "DtypeError", format!("expected float32 or float64, got {dtype}")))
    }
}

/// Runs `$body` with `$T` as the array's number type.
#[macro_export]
macro_rules! by_dtype {
    ($array:expr, $T:ident => $body:expr) => {
        if $crate::arrays::is_double($array)? {
            type $T = f64;
            $body
        } else {
            type $T = f32;
            $body
        }
    };
}

/// empty(shape, double) -> array: any numbers, from reused memory.
#[pyfunction(name = "empty")]
fn empty_py<'py>(py: Python<'py>, shape: Vec<usize>, double: bool) -> PyResult<Bound<'py, PyAny>> {
    if double { Ok(empty::<f64>(py, &shape)?.into_any()) } else { Ok(empty::<f32>(py, &shape)?.into_any()) }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Memory>()?;
    module.add_function(wrap_pyfunction!(empty_py, module)?)
}
