//! Layer norm and RMS norm, forward and backward, with and without the residual in front.

use weft_benches::{Work, criterion, numbers, row};
use weft_kernels::normalization::{Norm, Rows, backward, forward};

fn main() {
    let mut c = criterion();
    let (rows, cols) = (8192, 512);
    let (x, gain, more) = (numbers(rows * cols), numbers(cols), numbers(rows * cols));
    let [mut y, mut sum, mut dx] = [(); 3].map(|()| vec![0.0f32; rows * cols]);
    let [mut d_gain, mut d_shift] = [(); 2].map(|()| vec![0.0f32; cols]);
    let [mut means, mut deviations] = [(); 2].map(|()| vec![0.0f32; rows]);
    let array = 4.0 * x.len() as f64;
    for threads in [1, 2] {
        weft_kernels::parallel::set_num_threads(threads).unwrap();
        let of = Rows { norm: Norm::Layer, cols, x: &x, gain: &gain };
        let name = |what| format!("{what} {rows}x{cols}, {threads} threads");
        row(&mut c, &name("layer norm"), threads, Work::Bytes(2.0 * array), || {
            forward(of, 1e-5, &[], &gain, &mut [], &mut y, &mut means, &mut deviations).unwrap();
        });
        row(&mut c, &name("layer norm backward"), threads, Work::Bytes(3.0 * array), || {
            backward(of, &means, &deviations, &more, &[], &mut dx, &mut d_gain, &mut d_shift).unwrap();
        });
        row(&mut c, &name("add layer norm"), threads, Work::Bytes(4.0 * array), || {
            forward(of, 1e-5, &more, &gain, &mut sum, &mut y, &mut means, &mut deviations).unwrap();
        });
        let of = Rows { norm: Norm::Rms, ..of };
        row(&mut c, &name("rms norm"), threads, Work::Bytes(2.0 * array), || {
            forward(of, 1e-5, &[], &[], &mut [], &mut y, &mut [], &mut deviations).unwrap();
        });
    }
}
