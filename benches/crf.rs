//! Conditional random fields: 64 sequences of 50 steps and 20 tags.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::crf::{self, Chain, Gradients, Sequences};

fn main() {
    let mut c = criterion();
    let (rows, steps, tags) = (64, 50, 20);
    let (emissions, transitions, start, end) = (numbers(rows * steps * tags), numbers(tags * tags), numbers(tags), numbers(tags));
    let (targets, lengths): (Vec<i64>, _) =
        ((0..rows * steps).map(|i| (i * 7 % tags) as i64).collect(), vec![steps as i64; rows]);
    let chain = Chain { tags, transitions: &transitions, start: &start, end: &end };
    let x = Sequences { steps, emissions: &emissions, lengths: &lengths };
    let (mut losses, mut alphas) = (vec![0.0; rows], vec![0.0; emissions.len()]);
    let (mut de, mut dt, mut ds, mut dn) = (vec![0.0; emissions.len()], vec![0.0; tags * tags], vec![0.0; tags], vec![0.0; tags]);
    // An exponential for every pair of tags, once forward and twice backward.
    row(&mut c, "crf B64 T50, 20 tags, forward+backward", 2, Work::Operations((3 * rows * steps * tags * tags) as f64), || {
        crf::forward(chain, x, &targets, &mut losses, &mut alphas).unwrap();
        let gradients = Gradients { emissions: &mut de, transitions: &mut dt, start: &mut ds, end: &mut dn };
        crf::backward(chain, x, &targets, &alphas, &[1.0f32], gradients).unwrap();
    });
    let (mut paths, mut scores) = (vec![0; rows * steps], vec![0.0; rows]);
    row(&mut c, "crf B64 T50, 20 tags, viterbi", 2, Work::Operations((rows * steps * tags * tags) as f64), || {
        crf::viterbi(chain, x, &mut paths, &mut scores).unwrap();
    });
}
