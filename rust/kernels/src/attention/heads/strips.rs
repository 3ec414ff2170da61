//! Which parts of a tile are not empty.
//!
//! ```text
//!          rows →                 along the causal line a key is seen by the rows from its own on:
//!   keys   ■ ■ ■ ■ ■ ■            strips of keys, each with the rows that see any of it, leave the
//!    ↓     □ □ ■ ■ ■ ■            lower left out of the products
//!          □ □ □ □ ■ ■
//! ```

use super::{intersection, nothing};
use crate::Real;
use std::ops::Range;

/// So many keys, or rows, go through a product with what any of them sees.
const STRIP: usize = 32;

/// Neighbours, and what they see.
pub(super) type Strips = Vec<(Range<usize>, Range<usize>)>;

/// The rows that see each of `keys`, from the keys that each row sees, whose ends ascend.
pub(super) fn rows_of(keys: &Range<usize>, sees: &[Range<usize>], seen: &mut Vec<Range<usize>>) {
    seen.clear();
    let (mut start, mut end) = (0, 0);
    for key in keys.clone() {
        while start < sees.len() && sees[start].end <= key {
            start += 1;
        }
        while end < sees.len() && sees[end].start <= key {
            end += 1;
        }
        seen.push(start..end.max(start));
    }
}

/// The part of `keys` that each row sees, counted from the first of them.
pub(super) fn keys_of(keys: &Range<usize>, sees: &[Range<usize>], seen: &mut Vec<Range<usize>>) {
    seen.clear();
    seen.extend(sees.iter().map(|sees| {
        let sees = intersection(sees, keys);
        if sees.is_empty() { 0..0 } else { sees.start - keys.start..sees.end - keys.start }
    }));
}

/// Neighbours that go through a product together, and what any of them sees, from a whole vector on; those that see nothing are left out.
pub(super) fn strips<T: Real>(seen: &[Range<usize>], found: &mut Strips) {
    found.clear();
    for first in (0..seen.len()).step_by(STRIP) {
        let some = first..seen.len().min(first + STRIP);
        let mut all = nothing();
        for seen in seen[some.clone()].iter().filter(|seen| !seen.is_empty()) {
            all = all.start.min(seen.start)..all.end.max(seen.end);
        }
        all.start = all.start / T::WIDTH * T::WIDTH;
        match found.last_mut() {
            _ if all.is_empty() => {}
            Some((before, same)) if *same == all && before.end == some.start => before.end = some.end,
            _ => found.push((some, all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{keys_of, rows_of, strips};

    #[test]
    fn strips_hold_all_that_is_seen() {
        // 100 rows over keys 40 to 139: all of them, a causal line, a window.
        type Sees = fn(usize) -> std::ops::Range<usize>;
        for (sees, most) in
            [((|_| 0..200) as Sees, 1.0), (|i| 0..i + 41, 0.7), (|i| (i + 30).min(140)..i + 50, 0.5), (|_| 0..0, 0.0)]
        {
            let (keys, sees): (_, Vec<_>) = (40..140, (0..100).map(sees).collect());
            for by_rows in [false, true] {
                let (mut seen, mut found) = (Vec::new(), Vec::new());
                if by_rows {
                    keys_of(&keys, &sees, &mut seen)
                } else {
                    rows_of(&keys, &sees, &mut seen)
                }
                strips::<f32>(&seen, &mut found);
                let inside = |key: usize, row: usize| {
                    let (down, across) = if by_rows { (row, key) } else { (key, row) };
                    found.iter().filter(|(a, b)| a.contains(&down) && b.contains(&across)).count()
                };
                let mut taken = 0;
                for key in 0..100 {
                    for (row, sees) in sees.iter().enumerate() {
                        let times = inside(key, row);
                        assert!(times == 1 || times == 0 && !sees.contains(&(40 + key)), "key {key}, row {row}: {times}");
                        taken += times;
                    }
                }
                assert!(taken as f64 <= most * 1e4, "{taken} of 10,000");
            }
        }
    }
}
