//! Matrices as kernels see them: a pointer, two strides, and columns that may come in blocks.
//!
//! Column blocks exist for the gates of recurrent cells: a row of a GRU's cache holds `[n r z h]` for 16 units at a time, and a
//! product reads or writes three neighbouring quarters of each such group: `block` columns, then a jump of `block_stride`.

use std::marker::PhantomData;

/// A matrix that is read.
#[derive(Clone, Copy)]
pub struct MatrixView<'a, T> {
    pub(crate) pointer: *const T,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: isize,
    pub(crate) col_stride: isize,
    pub(crate) block: usize,
    pub(crate) block_stride: isize,
    life: PhantomData<&'a T>,
}

/// A matrix that is written: unit column stride, apart from the blocks.
pub struct MatrixViewMut<'a, T> {
    pub(crate) pointer: *mut T,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: isize,
    pub(crate) block: usize,
    pub(crate) block_stride: isize,
    life: PhantomData<&'a mut T>,
}

// SAFETY: a view is a shared borrow of numbers, which are Sync.
unsafe impl<T: Sync> Send for MatrixView<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatrixView<'_, T> {}
// SAFETY: a mutable view is an exclusive borrow; kernels hand disjoint parts of it to threads.
unsafe impl<T: Send> Send for MatrixViewMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatrixViewMut<'_, T> {}

impl<'a, T> MatrixView<'a, T> {
    /// `rows × cols`, rows one after the other.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols as isize, 1)
    }

    /// Any strides (in elements, not negative) that stay within `data`.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: isize, col_stride: isize) -> Self {
        assert!(row_stride >= 0 && col_stride >= 0, "strides of a slice are not negative");
        if rows > 0 && cols > 0 {
            let last = (rows - 1) * row_stride as usize + (cols - 1) * col_stride as usize;
            assert!(last < data.len(), "matrix {rows}x{cols} does not fit into {} elements", data.len());
        }
        // SAFETY: the last element was just found to lie within the slice.
        unsafe { Self::from_raw(data.as_ptr(), rows, cols, row_stride, col_stride) }
    }

    /// Any strides, negative ones too.
    ///
    /// # Safety
    /// Every element that the strides reach is valid for reads for the life of the view.
    pub unsafe fn from_raw(pointer: *const T, rows: usize, cols: usize, row_stride: isize, col_stride: isize) -> Self {
        Self { pointer, rows, cols, row_stride, col_stride, block: cols.max(1), block_stride: 0, life: PhantomData }
    }

    /// The same rows, but every `block` columns are followed by a jump to the next multiple of `block_stride`.
    ///
    /// # Safety
    /// Every element that is reached so is valid for reads.
    pub unsafe fn in_blocks(mut self, block: usize, block_stride: usize) -> Self {
        self.block = block;
        self.block_stride = block_stride as isize;
        self
    }

    /// `count` columns from `first` on, which begins a block where there are several.
    pub(crate) fn columns(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.cols && (self.block >= self.cols || first.is_multiple_of(self.block)), "columns of a view");
        let jump = (first / self.block) as isize * self.block_stride + (first % self.block) as isize * self.col_stride;
        let block = if self.block < self.cols { self.block } else { count.max(1) };
        Self { pointer: self.pointer.wrapping_offset(jump), cols: count, block, ..self }
    }

    /// `count` rows from `first` on.
    pub(crate) fn some_rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "rows of a view");
        Self { pointer: self.pointer.wrapping_offset(first as isize * self.row_stride), rows: count, ..self }
    }

    /// Rows and columns changed over. Not for views in blocks.
    pub fn transposed(self) -> Self {
        assert!(self.block >= self.cols, "a view in blocks has no transposed view");
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            block: self.rows.max(1),
            ..self
        }
    }

    /// Address of an element.
    ///
    /// # Safety
    /// `row < rows`, `col < cols`.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, row: usize, col: usize) -> *const T {
        let jump = (col / self.block) as isize * self.block_stride + (col % self.block) as isize * self.col_stride;
        // SAFETY: the caller stays within the view, whose elements are valid.
        unsafe { self.pointer.offset(row as isize * self.row_stride + jump) }
    }
}

impl<'a, T> MatrixViewMut<'a, T> {
    /// `rows × cols`, rows one after the other.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows `row_stride >= cols` elements apart.
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        if rows > 0 && cols > 0 {
            assert!(rows == 1 || row_stride >= cols, "rows of a matrix that is written must not overlap");
            assert!((rows - 1) * row_stride + cols <= data.len(), "matrix {rows}x{cols} does not fit into {}", data.len());
        }
        // SAFETY: the last element was just found to lie within the slice, and rows do not overlap.
        unsafe { Self::from_raw(data.as_mut_ptr(), rows, cols, row_stride as isize) }
    }

    /// Rows `row_stride` apart.
    ///
    /// # Safety
    /// Every element is valid for reads and writes by this view alone, for its life.
    pub unsafe fn from_raw(pointer: *mut T, rows: usize, cols: usize, row_stride: isize) -> Self {
        Self { pointer, rows, cols, row_stride, block: cols.max(1), block_stride: 0, life: PhantomData }
    }

    /// The same rows, but every `block` columns are followed by a jump to the next multiple of `block_stride`.
    ///
    /// # Safety
    /// Every element that is reached so is valid for writes by this view alone.
    pub unsafe fn in_blocks(mut self, block: usize, block_stride: usize) -> Self {
        self.block = block;
        self.block_stride = block_stride as isize;
        self
    }

    /// Address of an element.
    ///
    /// # Safety
    /// `row < rows`, `col < cols`.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, row: usize, col: usize) -> *mut T {
        let jump = (col / self.block) as isize * self.block_stride + (col % self.block) as isize;
        // SAFETY: the caller stays within the view, whose elements are valid.
        unsafe { self.pointer.offset(row as isize * self.row_stride + jump) }
    }
}
