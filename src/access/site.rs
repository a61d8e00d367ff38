//! The shape of an access that the fault guard knows, the same on each architecture but for instructions and registers.

/// Makes `load_8` to `store_64` from their instructions. Each notes, in a section that the guard reads, where its one
/// instruction begins and where it ends.
///
/// `$fault` is the register in which the guard leaves a fault, `$word` what a register holds.
macro_rules! accesses {
    ($fault:tt, $word:ty; $($load:ident, $store:ident, $read:literal, $write:literal;)*) => {$(
        /// One load. After a fault, `fault` is not 0 and the value means nothing.
        ///
        /// # Safety
        /// As for [`super::Word::load`].
        #[inline(always)]
        pub(super) unsafe fn $load(address: *const u8, fault: &mut Packed) -> u64 {
            let value: $word;
            // SAFETY: one load from an address the caller vouches for. If it faults, the handler continues behind
            // it with the fault in `$fault`.
            unsafe {
                asm!(
                    concat!("2: ", $read),
                    "3:",
                    ".pushsection devregs_sites, \"aR\"",
                    ".long 2b - ., 3b - .",
                    ".popsection",
                    value = out(reg) value,
                    address = in(reg) address,
                    inout($fault) *fault,
                    options(nostack, preserves_flags),
                );
            }
            value as u64
        }

        /// One store. After a fault, `fault` is not 0.
        ///
        /// # Safety
        /// As for [`super::Word::store`].
        #[inline(always)]
        pub(super) unsafe fn $store(address: *mut u8, value: u64, fault: &mut Packed) {
            // SAFETY: one store to an address the caller vouches for; a fault as above. The value fits: it was
            // checked against the width.
            unsafe {
                asm!(
                    concat!("2: ", $write),
                    "3:",
                    ".pushsection devregs_sites, \"aR\"",
                    ".long 2b - ., 3b - .",
                    ".popsection",
                    value = in(reg) value as $word,
                    address = in(reg) address,
                    inout($fault) *fault,
                    options(nostack, preserves_flags),
                );
            }
        }
    )*};
}
