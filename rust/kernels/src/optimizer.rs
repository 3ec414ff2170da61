//! Updates of all parameters in one call: a pass for the global norm, a pass for the update.

use crate::error::check_length;
use crate::parallel::{self, Shared, part, threads_for_bytes};
use crate::workspace::scratch;
use crate::{Real, Result};
use weft_simd::{AHEAD, Isa, Kernel, Lanes, dispatch, streams_are_asked_for};

/// Numbers whose squares are summed before the next sum begins (rule R4).
const CHUNK: usize = 16_384;

struct Squares<'a, T>(&'a [T]);

impl<T: Real> Kernel for Squares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        // In f64 lanes: the squares of f32 gradients neither overflow nor vanish.
        let mut sums = [<I::F64>::zero(); 2];
        let mut lane = [0.0f64; 16];
        for chunk in self.0.chunks(16) {
            lane[chunk.len()..].fill(0.0);
            for (value, &x) in lane.iter_mut().zip(chunk) {
                *value = x.to_f64();
            }
            // SAFETY: 16 numbers are two vectors of 8.
            unsafe {
                let (a, b) = (<I::F64>::load(lane.as_ptr()), <I::F64>::load(lane.as_ptr().add(8)));
                sums = [a.fma(a, sums[0]), b.fma(b, sums[1])];
            }
        }
        sums[0].add(sums[1]).fold_add()
    }
}

/// √ of the sum of the squares of all gradients.
pub fn global_norm<T: Real>(gradients: &[&[T]]) -> f64 {
    let chunks: Vec<&[T]> = gradients.iter().flat_map(|g| g.chunks(CHUNK)).collect();
    let mut sums = scratch::<f64>(chunks.len());
    let shared = Shared(sums.as_mut_ptr());
    let bytes = gradients.iter().map(|g| size_of_val(*g)).sum();
    parallel::over_ranges(chunks.len(), bytes, |range| {
        for i in range {
            // SAFETY: each chunk has its own place.
            unsafe { shared.write(i, dispatch(Squares(chunks[i]))) };
        }
    });
    let mut sum = 0.0;
    for &s in sums.iter() {
        sum += s;
    }
    sum.sqrt()
}

/// One parameter with its gradient and state. All slices have the same length; state that a rule does not use is empty.
pub struct Slot<'a, T> {
    /// Updated.
    pub parameter: &'a mut [T],
    /// Read.
    pub gradient: &'a [T],
    /// Momentum, or Adam's first moment; updated.
    pub first: &'a mut [T],
    /// Adam's second moment; updated.
    pub second: &'a mut [T],
}

/// An update rule with its constants for this step.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Kingma & Ba 2015; `decoupled` is Loshchilov & Hutter 2019.
    Adam {
        /// Learning rate.
        rate: f64,
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Weight decay.
        decay: f64,
        /// Decay acts on the parameter (AdamW), not on the gradient.
        decoupled: bool,
        /// Number of this step, from 1.
        step: u64,
    },
    /// With momentum, dampening and Nesterov's form as in torch.
    Sgd {
        /// Learning rate.
        rate: f64,
        /// Momentum; 0 uses no state.
        momentum: f64,
        /// Dampening of the momentum.
        dampening: f64,
        /// Weight decay, added to the gradient.
        decay: f64,
        /// Nesterov's momentum.
        nesterov: bool,
        /// The state is empty so far: it becomes the gradient.
        first_step: bool,
    },
}

struct Update<'a, T> {
    rule: Rule,
    scale: T,
    parameter: &'a mut [T],
    gradient: &'a [T],
    first: &'a mut [T],
    second: &'a mut [T],
}

impl<T: Real> Kernel for Update<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.parameter.len();
        let (p, g) = (self.parameter.as_mut_ptr(), self.gradient.as_ptr());
        let (m, v) = (self.first.as_mut_ptr(), self.second.as_mut_ptr());
        let number = |x: f64| <T::On<I>>::splat(T::from_f64(x));
        let scale = <T::On<I>>::splat(self.scale);
        // Corrections of Adam's moments (algorithm 1, lines 11 and 12).
        let (bias1, bias2) = match self.rule {
            Rule::Adam { beta1, beta2, step, .. } => (1.0 - power(beta1, step), (1.0 - power(beta2, step)).sqrt()),
            Rule::Sgd { .. } => (1.0, 1.0),
        };
        let (mut i, ask) = (0, streams_are_asked_for());
        while i < n {
            let c = T::WIDTH.min(n - i);
            if ask {
                for pointer in [p.cast_const(), g, m, v] {
                    <T::On<I>>::ask(pointer.wrapping_add(i + AHEAD * T::WIDTH));
                }
            }
            // SAFETY: `update` has checked that every slice that the rule uses is as long as the parameter.
            unsafe {
                let mut w = <T::On<I>>::load_first(p.add(i), c);
                let mut d = <T::On<I>>::load_first(g.add(i), c).mul(scale);
                match self.rule {
                    Rule::Adam { rate, beta1, beta2, epsilon, decay, decoupled, .. } => {
                        if decay != 0.0 && decoupled {
                            w = w.mul(number(1.0 - rate * decay));
                        } else if decay != 0.0 {
                            d = w.fma(number(decay), d);
                        }
                        let m1 = <T::On<I>>::load_first(m.add(i), c).mul(number(beta1));
                        let m1 = d.fma(number(1.0 - beta1), m1);
                        let m2 = <T::On<I>>::load_first(v.add(i), c).mul(number(beta2));
                        let m2 = d.mul(d).fma(number(1.0 - beta2), m2);
                        m1.store_first(m.add(i), c);
                        m2.store_first(v.add(i), c);
                        let root = m2.sqrt().div(number(bias2)).add(number(epsilon));
                        w = w.sub(m1.mul(number(rate / bias1)).div(root));
                    }
                    Rule::Sgd { rate, momentum, dampening, decay, nesterov, first_step } => {
                        if decay != 0.0 {
                            d = w.fma(number(decay), d);
                        }
                        if momentum != 0.0 {
                            let old = <T::On<I>>::load_first(m.add(i), c).mul(number(momentum));
                            let buffer = if first_step { d } else { d.fma(number(1.0 - dampening), old) };
                            buffer.store_first(m.add(i), c);
                            d = if nesterov { buffer.fma(number(momentum), d) } else { buffer };
                        }
                        w = w.sub(d.mul(number(rate)));
                    }
                }
                w.store_first(p.add(i), c);
            }
            i += c;
        }
    }
}

/// βⁿ by squaring: the same products on every machine.
fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

/// Updates all parameters; gradients count `scale` times (clipping).
pub fn update<T: Real>(rule: Rule, scale: f64, slots: &mut [Slot<'_, T>]) -> Result<()> {
    let (uses_first, uses_second) = match rule {
        Rule::Adam { .. } => (true, true),
        Rule::Sgd { momentum, .. } => (momentum != 0.0, false),
    };
    let mut parts = Vec::new();
    for slot in slots.iter_mut() {
        let n = slot.parameter.len();
        check_length("optimizer", "gradient", slot.gradient.len(), n)?;
        if uses_first {
            check_length("optimizer", "first moment", slot.first.len(), n)?;
        }
        if uses_second {
            check_length("optimizer", "second moment", slot.second.len(), n)?;
        }
    }
    for (index, slot) in slots.iter().enumerate() {
        parts.extend((0..slot.parameter.len()).step_by(CHUNK).map(|start| (index, start)));
    }
    let bytes = slots.iter().map(|s| 7 * size_of_val(s.gradient)).sum();
    let states: Vec<_> = slots
        .iter_mut()
        .map(|s| (Shared(s.parameter.as_mut_ptr()), Shared(s.first.as_mut_ptr()), Shared(s.second.as_mut_ptr()), s.gradient))
        .collect();
    let threads = threads_for_bytes(bytes).min(parts.len().max(1));
    parallel::run(threads, &|thread| {
        for &(index, start) in &parts[part(parts.len(), threads, thread)] {
            let (parameter, first, second, gradient) = &states[index];
            let range = start..gradient.len().min(start + CHUNK);
            let used = |wanted: bool| if wanted { range.clone() } else { 0..0 };
            // SAFETY: chunks of a slot are disjoint, and the lengths were checked.
            let (parameter, first, second) =
                unsafe { (parameter.slice(range.clone()), first.slice(used(uses_first)), second.slice(used(uses_second))) };
            dispatch(Update { rule, scale: T::from_f64(scale), parameter, gradient: &gradient[range], first, second });
        }
    });
    Ok(())
}
