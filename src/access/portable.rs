//! The body of an access on every architecture: volatile-register's cells, each made from a raw pointer for
//! one call, so that no reference to device memory lives longer than the access.
#![allow(unsafe_code)] // See the module above.

use super::Packed;
use volatile_register::{RO, WO};

macro_rules! cells {
    ($($load:ident, $store:ident, $word:ty;)*) => {$(
        /// # Safety
        /// As for [`super::Word::load`].
        #[inline(always)]
        pub(super) unsafe fn $load(address: *const u8, _: &mut Packed) -> u64 {
            let cell = address.cast::<RO<$word>>();
            // SAFETY: the caller promises an aligned, mapped address; the reference ends with the statement.
            unsafe { (*cell).read() }.into()
        }

        /// # Safety
        /// As for [`super::Word::store`].
        #[inline(always)]
        pub(super) unsafe fn $store(address: *mut u8, value: u64, _: &mut Packed) {
            let cell = address.cast::<WO<$word>>();
            // SAFETY: the caller promises an aligned, mapped, writable address; the reference ends with the
            // statement. The value fits: it was checked against the width.
            unsafe { (*cell).write(value as $word) };
        }
    )*};
}

cells! {
    load_8, store_8, u8;
    load_16, store_16, u16;
    load_32, store_32, u32;
    load_64, store_64, u64;
}
