//! Flush-to-zero and denormals-are-zero of the calling thread.

/// Whether the calling thread flushes subnormal numbers. Always false where the processor has no such mode that we know.
pub fn flush_denormal() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        control::read() & control::FLUSH == control::FLUSH
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Sets the mode of the calling thread; false where the processor has no such mode that we know.
pub fn set_flush_denormal(on: bool) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let now = control::read();
        control::write(if on { now | control::FLUSH } else { now & !control::FLUSH });
        true
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = on;
        false
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    /// FTZ (bit 15) and DAZ (bit 6).
    pub const FLUSH: u32 = 0x8040;

    pub fn read() -> u32 {
        let mut word = 0u32;
        // SAFETY: stmxcsr writes four bytes to the address of a live u32.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack, preserves_flags)) };
        word
    }

    pub fn write(word: u32) {
        // SAFETY: only the two flush bits differ from the word that was read, so no exception is unmasked.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, preserves_flags)) };
    }
}
