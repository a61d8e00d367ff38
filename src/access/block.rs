//! Many words: one access each, in order. The width is looked at once, so that a word costs what it costs in C.
#![allow(unsafe_code)] // See the module above.

use super::{Fault, Packed, Word, arch};
use crate::map::Width;

/// A fault, and the index of the word that met it. All words before it are done, none behind it.
pub(crate) type Broken = (usize, Fault);

/// Words in a run, which the compiler unrolls.
const RUN: usize = 8;

macro_rules! each_width {
    ($word:expr, $body:ident) => {
        match $word.width {
            Width::W8 => $body!(u8, load_8, store_8),
            Width::W16 => $body!(u16, load_16, store_16),
            Width::W32 => $body!(u32, load_32, store_32),
            #[cfg(target_pointer_width = "64")]
            Width::W64 => $body!(u64, load_64, store_64),
            #[cfg(not(target_pointer_width = "64"))]
            Width::W64 => unreachable!("refused by `single`"),
        }
    };
}

impl Word {
    /// The word so many bytes further on.
    pub fn at(self, bytes: usize) -> Word {
        Word { address: self.address.wrapping_add(bytes), ..self }
    }

    /// Puts a value into an item of a buffer, in the machine's byte order.
    pub fn put(self, value: u64, item: &mut [u8]) {
        macro_rules! put {
            ($type:ty, $load:ident, $store:ident) => {
                item.copy_from_slice(&(value as $type).to_ne_bytes())
            };
        }
        each_width!(self, put)
    }

    /// The value of an item of a buffer.
    pub fn take(self, item: &[u8]) -> u64 {
        macro_rules! take {
            ($type:ty, $load:ident, $store:ident) => {{
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(item);
                <$type>::from_ne_bytes(bytes).into()
            }};
        }
        each_width!(self, take)
    }

    /// Loads as many words as `out` holds, from this one on, `step` bytes apart. They arrive in the machine's byte
    /// order.
    ///
    /// # Safety
    /// As for [`Word::load`], for all the words.
    pub unsafe fn load_block(self, step: usize, out: &mut [u8]) -> Result<(), Broken> {
        macro_rules! run {
            ($type:ty, $load:ident, $store:ident) => {{
                const BYTES: usize = size_of::<$type>();
                let mut address: *const u8 = self.address;
                let mut fault: Packed = 0;
                let mut done = 0;
                let mut one = |item: &mut [u8]| {
                    // SAFETY: the caller's promise.
                    let value = unsafe { arch::$load(address, &mut fault) } as $type;
                    if fault != 0 {
                        return Err((done, Fault::unpack(fault)));
                    }
                    let value = if self.swap { value.swap_bytes() } else { value };
                    item.copy_from_slice(&value.to_ne_bytes());
                    address = address.wrapping_add(step);
                    done += 1;
                    Ok(())
                };
                let mut runs = out.chunks_exact_mut(RUN * BYTES);
                for run in &mut runs {
                    for index in 0..RUN {
                        one(&mut run[index * BYTES..(index + 1) * BYTES])?;
                    }
                }
                runs.into_remainder().chunks_exact_mut(BYTES).try_for_each(one)
            }};
        }
        each_width!(self, run)
    }

    /// Stores the words of `from`, which are in the machine's byte order, to this one on, `step` bytes apart.
    ///
    /// # Safety
    /// As for [`Word::store`], for all the words.
    pub unsafe fn store_block(self, step: usize, from: &[u8]) -> Result<(), Broken> {
        macro_rules! run {
            ($type:ty, $load:ident, $store:ident) => {{
                const BYTES: usize = size_of::<$type>();
                let mut address = self.address;
                let mut fault: Packed = 0;
                let mut done = 0;
                let mut one = |item: &[u8]| {
                    let mut bytes = [0; BYTES];
                    bytes.copy_from_slice(item);
                    let value = <$type>::from_ne_bytes(bytes);
                    let value = if self.swap { value.swap_bytes() } else { value };
                    // SAFETY: the caller's promise.
                    unsafe { arch::$store(address, value.into(), &mut fault) };
                    if fault != 0 {
                        return Err((done, Fault::unpack(fault)));
                    }
                    address = address.wrapping_add(step);
                    done += 1;
                    Ok(())
                };
                let mut runs = from.chunks_exact(RUN * BYTES);
                for run in &mut runs {
                    for index in 0..RUN {
                        one(&run[index * BYTES..(index + 1) * BYTES])?;
                    }
                }
                runs.remainder().chunks_exact(BYTES).try_for_each(one)
            }};
        }
        each_width!(self, run)
    }
}
