//! Squares turned over: every number comes to its place on every instruction set, and nothing beside the square is touched.

use weft_simd::{Isa, Kernel, Lanes, Real, available, dispatch_on};

struct Turn<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
    strides: (usize, usize),
}

impl<T: Real> Kernel for Turn<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let (from, to) = (self.from.as_ptr(), self.to.as_mut_ptr());
        // SAFETY: the callers below make room for a square of eight rows with these strides.
        unsafe { <T::On<I>>::turn(|i| from.wrapping_add(i * self.strides.0), |j| to.wrapping_add(1 + j * self.strides.1)) };
        <T::On<I>>::SIDE
    }
}

fn check<T: Real>() {
    for choice in available() {
        for strides in [(8, 9), (11, 64), (100, 8)] {
            let from: Vec<T> = (0..8 * strides.0).map(|i| T::from_f64(i as f64)).collect();
            let mut to = vec![T::from_f64(-1.0); 2 + 8 * strides.1];
            let side = dispatch_on(choice, Turn { from: &from, to: &mut to, strides });
            assert_eq!(side, T::WIDTH / 2);
            for (at, &number) in to.iter().enumerate() {
                let (j, i) = (at.wrapping_sub(1) / strides.1, at.wrapping_sub(1) % strides.1);
                let wished = if at > 0 && j < side && i < side { (i * strides.0 + j) as f64 } else { -1.0 };
                assert_eq!(number, T::from_f64(wished), "{choice:?} {strides:?} row {j}, column {i}");
            }
        }
    }
}

#[test]
fn every_number_comes_to_its_place() {
    check::<f32>();
    check::<f64>();
}
