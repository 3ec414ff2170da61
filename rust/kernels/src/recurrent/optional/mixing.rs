//! Masks, zoneout and sums of single numbers, on lanes.

use crate::Real;
use crate::elementwise::Map;
use weft_simd::{Choice, Isa, Kernel, Lanes, dispatch_on};

/// Calls a method for all numbers of a row: for four vectors of them in step, then for one at a time, for chains alone wait for themselves.
macro_rules! over {
    ($count:expr, $lanes:ty, $this:ident.$method:ident($row:expr $(, $more:expr)*)) => {{
        let mut i = 0;
        while i + <$lanes as Lanes>::Step::WIDTH <= $count {
            $this.$method::<<$lanes as Lanes>::Step>($row, i, <$lanes as Lanes>::Step::WIDTH $(, $more)*);
            i += <$lanes as Lanes>::Step::WIDTH;
        }
        while i < $count {
            let n = <$lanes>::WIDTH.min($count - i);
            $this.$method::<$lanes>($row, i, n $(, $more)*);
            i += n;
        }
    }};
}
pub(super) use over;

macro_rules! mixing {
    ($(#[$doc:meta])* $name:ident, $n:literal, [$($x:ident),*] => $y:expr) => {
        $(#[$doc])*
        pub(super) struct $name;
        impl Map<$n> for $name {
            #[inline(always)]
            fn apply<L: Lanes>(&self, [$($x),*]: [L; $n]) -> L {
                $y
            }
        }
    };
}

/// 1 − keep
#[inline(always)]
pub(super) fn rest<L: Lanes>(keep: L) -> L {
    L::splat(L::Elem::ONE).sub(keep)
}

mixing!(
    /// a + b
    Sum, 2, [a, b] => a.add(b)
);
mixing!(
    /// a · b
    Product, 2, [a, b] => a.mul(b)
);
mixing!(
    /// a · m + b
    MaskedSum, 3, [a, m, b] => a.fma(m, b)
);
mixing!(
    /// keep · new + (1 − keep) · before
    Zoned, 3, [new, before, keep] => keep.fma(new, rest(keep).mul(before))
);

/// The first number of some rows, and how far apart they lie.
pub(super) type Rows<P> = (P, usize);

/// Runs a map over `cols` numbers of each of some rows.
///
/// # Safety
/// These numbers of these rows are readable, those of `to` writable by this thread alone; `to` may be an input, as a whole.
pub(super) unsafe fn over_rows<T: Real, M: Map<N>, const N: usize>(
    choice: Choice,
    map: &M,
    (rows, cols): (usize, usize),
    inputs: [Rows<*const T>; N],
    to: Rows<*mut T>,
) {
    dispatch_on(choice, Mixed { map, rows, cols, inputs, to });
}

struct Mixed<'a, T, M, const N: usize> {
    map: &'a M,
    rows: usize,
    cols: usize,
    inputs: [Rows<*const T>; N],
    to: Rows<*mut T>,
}

impl<T: Real, M: Map<N>, const N: usize> Kernel for Mixed<'_, T, M, N> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in 0..self.rows {
            over!(self.cols, T::On<I>, self.numbers(row));
        }
    }
}

impl<T: Real, M: Map<N>, const N: usize> Mixed<'_, T, M, N> {
    #[inline(always)]
    fn numbers<V: Lanes<Elem = T>>(&self, row: usize, i: usize, n: usize) {
        // SAFETY: the caller of `over_rows` promises `cols` numbers of every row, and i + n is at most that.
        unsafe {
            let mut given = [V::zero(); N];
            for (to, (from, stride)) in given.iter_mut().zip(self.inputs) {
                *to = V::load_first(from.add(row * stride + i), n);
            }
            self.map.apply(given).store_first(self.to.0.add(row * self.to.1 + i), n);
        }
    }
}

/// Zoneout, backwards, of rows of `cols` numbers: of d = dh + dy, keep · d is for the new state and (1 − keep) · d stays in dh, for the old one.
pub(super) struct Zones<T> {
    pub rows: usize,
    pub cols: usize,
    /// `cols` apart.
    pub dh: *mut T,
    /// May be null.
    pub dy: Rows<*const T>,
    /// `cols` apart.
    pub keep: *const T,
    /// Written, `cols` apart.
    pub to: *mut T,
}

impl<T: Real> Kernel for Zones<T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in 0..self.rows {
            over!(self.cols, T::On<I>, self.numbers(row));
        }
    }
}

impl<T: Real> Zones<T> {
    #[inline(always)]
    fn numbers<V: Lanes<Elem = T>>(&self, row: usize, i: usize, n: usize) {
        let at = row * self.cols + i;
        // SAFETY: the pointers hold these rows, and n numbers are left in this one.
        unsafe {
            let mut d = V::load_first(self.dh.add(at), n);
            if !self.dy.0.is_null() {
                d = d.add(V::load_first(self.dy.0.add(row * self.dy.1 + i), n));
            }
            let keep = V::load_first(self.keep.add(at), n);
            keep.mul(d).store_first(self.to.add(at), n);
            rest(keep).mul(d).store_first(self.dh.add(at), n);
        }
    }
}
