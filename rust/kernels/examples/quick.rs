use std::hint::black_box;
use std::time::Instant;
use weft_kernels::matmul::*;
use weft_kernels::*;
use weft_simd::*;
struct Peak(usize);
impl Kernel for Peak {
    type Output = f32;
    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        let mut acc = [<I::F32>::splat(1.0); 12];
        let x = <I::F32>::splat(black_box(0.999));
        let y = <I::F32>::splat(black_box(0.001));
        for _ in 0..self.0 {
            for a in acc.iter_mut() {
                *a = a.fma(x, y);
            }
        }
        let mut s = <I::F32>::zero();
        for a in acc {
            s = s.add(a);
        }
        s.fold_add()
    }
}
fn main() {
    let th: usize = std::env::args().nth(1).map_or(1, |x| x.parse().unwrap());
    let shapes = [(96, 256, 64), (512, 512, 512), (1024, 1024, 1024), (3200, 256, 1024), (32, 256, 1024), (256, 3200, 1024)];
    let data: Vec<_> = shapes.iter().map(|&(m, k, n)| (vec![0.5f32; m * k], vec![0.25f32; k * n])).collect();
    let packed: Vec<_> = shapes.iter().zip(&data).map(|(&(_, k, n), d)| PackedMatrix::new(MatrixView::new(&d.1, k, n))).collect();
    let mut c = vec![0f32; 4_000_000];
    let mut best = vec![f64::MAX; shapes.len() * 3];
    let mut peak = 0f64;
    let mut ratio = vec![vec![]; shapes.len() * 3];
    for _ in 0..12 {
        for (i, &(m, k, n)) in shapes.iter().enumerate() {
            for form in 0..3 {
                let pk = || {
                    let t = Instant::now();
                    black_box(dispatch(Peak(black_box(50_000))));
                    5e4 * 12.0 * 32.0 / t.elapsed().as_secs_f64() / 1e9
                };
                let p1 = pk();
                let (a, b) = &data[i];
                let l = if form == 2 { MatrixView::new(a, k, m).transposed() } else { MatrixView::new(a, m, k) };
                let r = if form == 1 { Right::Packed(&packed[i]) } else { Right::View(MatrixView::new(b, k, n)) };
                let flops = 2.0 * (m * k * n) as f64;
                let reps = (2e8 / flops).ceil().max(1.0) as usize;
                let t = Instant::now();
                for _ in 0..reps {
                    product_on(chosen(), th, l, r, MatrixViewMut::new(&mut c, m, n), Start::Zero);
                }
                let e = t.elapsed().as_secs_f64() / reps as f64;
                let p2 = pk();
                peak = peak.max(p1).max(p2);
                best[i * 3 + form] = best[i * 3 + form].min(e);
                ratio[i * 3 + form].push(flops / e / 1e9 / p1.max(p2) / th as f64);
            }
        }
    }
    println!("peak {peak:.1}");
    for (i, &(m, k, n)) in shapes.iter().enumerate() {
        print!("{m}x{k}x{n}:");
        for (f, name) in ["view", "packed", "At"].iter().enumerate() {
            let g = 2.0 * (m * k * n) as f64 / best[i * 3 + f] / 1e9;
            let r = &mut ratio[i * 3 + f];
            r.sort_by(|a, b| a.total_cmp(b));
            print!("  {name} {g:.1} ({:.0}%, med {:.0}%)", 100.0 * g / peak / th as f64, 100.0 * r[r.len() / 2]);
        }
        println!();
    }
}
