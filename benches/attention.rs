//! Attention of an encoder-decoder.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::attention::{Score, Sizes, forward};

fn main() {
    let mut c = criterion();
    let s = Sizes { batch: 64, targets: 24, sources: 24, width: 256, values: 256 };
    let (q, k) = (numbers(s.batch * s.targets * s.width), numbers(s.batch * s.sources * s.width));
    let (mut weights, mut context) = (vec![0.0; s.batch * s.targets * s.sources], vec![0.0; q.len()]);
    let operations = 4.0 * (s.batch * s.targets * s.sources * s.width) as f64;
    row(&mut c, "attention dot B64 T24 S24 D256 forward", 2, Work::Operations(operations), || {
        forward(s, Score::Dot { scale: 1.0 }, &q, &k, &k, None, &mut weights, &mut context).unwrap();
    });
}
