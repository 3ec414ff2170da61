//! Masks, zoneout and sums of single numbers, on lanes.

use crate::elementwise::Map;
use weft_simd::{Lanes, Real};

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

#[inline(always)]
fn rest<L: Lanes>(keep: L) -> L {
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
mixing!(
    /// (1 − keep) · a
    Rest, 2, [a, keep] => rest(keep).mul(a)
);
