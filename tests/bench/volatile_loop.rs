//! The yardstick of a block read: one volatile load per word, as C or Rust would write it.

/// # Safety
/// Both pointers are valid for `count` words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn volatile_loop(to: *mut u32, from: *const u32, count: usize) {
    for index in 0..count {
        // SAFETY: the caller's promise.
        unsafe { to.add(index).write(from.add(index).read_volatile()) };
    }
}
