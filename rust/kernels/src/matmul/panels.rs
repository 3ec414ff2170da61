//! A matrix in panels of 64 columns (32 of f64): row after row of a panel, one panel behind the other. So tiles write it side by side, and
//! a product reads it as its right-hand side where it lies.

use super::panel_width;
use crate::{MatrixView, MatrixViewMut, Real};
use std::marker::PhantomData;

/// Where the numbers of such a matrix lie. The last panel is as wide as the others; what stands behind the last column is not looked at.
#[derive(Clone, Copy)]
pub(crate) struct Panels<T> {
    pub rows: usize,
    pub columns: usize,
    numbers: PhantomData<T>,
}

impl<T: Real> Panels<T> {
    /// From a row of a panel to the next.
    pub const STRIDE: usize = panel_width::<T>();

    pub fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, numbers: PhantomData }
    }

    /// How many panels.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(Self::STRIDE)
    }

    /// From a panel to the next.
    pub fn apart(&self) -> usize {
        self.rows * Self::STRIDE
    }

    /// Numbers of all panels.
    pub fn len(&self) -> usize {
        self.count() * self.apart()
    }

    /// Where a number lies.
    pub fn at(&self, row: usize, column: usize) -> usize {
        column / Self::STRIDE * self.apart() + row * Self::STRIDE + column % Self::STRIDE
    }

    /// Of each panel: its first column, how many there are, and where those of a row begin.
    pub fn of_row(self, row: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let columns = (0..self.columns).step_by(Self::STRIDE);
        columns.map(move |first| (first, Self::STRIDE.min(self.columns - first), self.at(row, first)))
    }

    /// The matrix, to be read.
    pub fn view<'a>(&self, data: &'a [T]) -> MatrixView<'a, T> {
        assert!(data.len() >= self.len(), "[matmul] a buffer that holds all panels");
        let stride = Self::STRIDE as isize;
        // SAFETY: the panels were just found to lie within the data.
        unsafe { MatrixView::from_raw(data.as_ptr(), self.rows, self.columns, stride, 1).in_blocks(Self::STRIDE, self.apart()) }
    }

    /// The matrix, to be written.
    pub fn view_mut<'a>(&self, data: &'a mut [T]) -> MatrixViewMut<'a, T> {
        assert!(data.len() >= self.len(), "[matmul] a buffer that holds all panels");
        let stride = Self::STRIDE as isize;
        // SAFETY: as above.
        unsafe {
            MatrixViewMut::from_raw(data.as_mut_ptr(), self.rows, self.columns, stride).in_blocks(Self::STRIDE, self.apart())
        }
    }
}
