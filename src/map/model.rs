//! What a device looks like: the checked, resolved, immutable form of a device map.
//!
//! Everything here is plain data. Inheritance (`derive-from`, defaults of the device, of the region
//! and of the register) is already resolved: each register and field holds its own final values.
//! Offsets and sizes are in bytes, positions and widths of fields in bits.

use std::sync::Arc;

use serde::Serialize;

use super::behaviour::Behaviour;
use super::locate::Nodes;

/// The width of one bus access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "u32")]
pub enum Width {
    /// 8 bits, 1 byte.
    W8,
    /// 16 bits, 2 bytes.
    W16,
    /// 32 bits, 4 bytes.
    W32,
    /// 64 bits, 8 bytes.
    W64,
}

impl Width {
    /// The width of so many bits, if that is one a bus access can have.
    pub const fn from_bits(bits: u64) -> Option<Width> {
        match bits {
            8 => Some(Width::W8),
            16 => Some(Width::W16),
            32 => Some(Width::W32),
            64 => Some(Width::W64),
            _ => None,
        }
    }

    /// In bits: 8, 16, 32 or 64.
    pub const fn bits(self) -> u32 {
        self.bytes() as u32 * 8
    }

    /// In bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> usize {
        match self {
            Width::W8 => 1,
            Width::W16 => 2,
            Width::W32 => 4,
            Width::W64 => 8,
        }
    }

    /// The largest value of this width; also the mask of its bits.
    pub const fn mask(self) -> u64 {
        mask(self.bits())
    }
}

impl From<Width> for u32 {
    fn from(width: Width) -> u32 {
        width.bits()
    }
}

/// A mask of the `bits` lowest bits; `bits` is 0 to 64.
pub const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The order of a register's bytes on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByteOrder {
    /// Least significant byte at the lowest address.
    Little,
    /// Most significant byte at the lowest address.
    Big,
}

impl ByteOrder {
    /// The order of the machine this runs on.
    pub const NATIVE: ByteOrder =
        if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
}

/// What software may do with a region, register or field. CMSIS-SVD's five access types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Access {
    /// Read only.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Write only.
    #[serde(rename = "wo")]
    WriteOnly,
    /// Read and write.
    #[serde(rename = "rw")]
    ReadWrite,
    /// Written once after reset; later writes do nothing. Readable.
    #[serde(rename = "rw-once")]
    ReadWriteOnce,
    /// Written once after reset; later writes do nothing. Not readable.
    #[serde(rename = "wo-once")]
    WriteOnce,
}

impl Access {
    /// Whether software may read it.
    pub const fn readable(self) -> bool {
        matches!(self, Access::ReadOnly | Access::ReadWrite | Access::ReadWriteOnce)
    }

    /// Whether software may write it.
    pub const fn writable(self) -> bool {
        !matches!(self, Access::ReadOnly)
    }
}

/// What a read does to the bits read, beside returning them (SVD `readAction`, SystemRDL `onread`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRead {
    /// All bits become 0 (SVD `clear`, SystemRDL `rclr`).
    Clear,
    /// All bits become 1 (SVD `set`, SystemRDL `rset`).
    Set,
    /// The value changes in a way the map does not say (SVD `modify`, SystemRDL `ruser`).
    Modify,
    /// Something elsewhere in the device changes (SVD `modifyExternal`), such as a FIFO that pops.
    ModifyExternal,
}

/// What a write does to the bits written (SVD `modifiedWriteValues`, SystemRDL `onwrite`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnWrite {
    /// A 1 clears the bit (`woclr`).
    OneToClear,
    /// A 1 sets the bit (`woset`).
    OneToSet,
    /// A 1 toggles the bit (`wot`).
    OneToToggle,
    /// A 0 clears the bit (`wzc`).
    ZeroToClear,
    /// A 0 sets the bit (`wzs`).
    ZeroToSet,
    /// A 0 toggles the bit (`wzt`).
    ZeroToToggle,
    /// Any write clears all bits (`wclr`).
    Clear,
    /// Any write sets all bits (`wset`).
    Set,
    /// The write has an effect the map does not describe (SVD `modify`, SystemRDL `wuser`).
    Modify,
}

/// One device: its regions with their registers and fields. No addresses of a board.
#[derive(Clone, Debug, Serialize)]
pub struct Map {
    /// The device's name, such as `pl061`.
    pub name: String,
    /// One line: what the device is.
    pub title: Option<String>,
    /// More about it.
    pub doc: Option<String>,
    /// The document the map was made from.
    pub reference: Option<String>,
    /// What discovery matches: device-tree strings, UIO names, PCI ids as `pci:10ee:7021`.
    pub compatible: Vec<String>,
    /// The default width of an access.
    pub width: Width,
    /// The default byte order.
    pub byte_order: ByteOrder,
    /// In the order of the file.
    pub regions: Vec<Region>,
    /// What it does by itself, for mocks, in the order of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behaviour: Vec<Arc<Behaviour>>,
    /// The file it came from, as the user named it, or `builtin:arm/pl061.toml`.
    pub origin: String,
}

/// A span of a device with one access right: one mmap, one protection, one kind of view.
#[derive(Clone, Debug, Serialize)]
pub struct Region {
    /// Unique among the map's regions.
    pub name: String,
    /// What it is for.
    pub doc: Option<String>,
    /// From the start of the device, or of the UIO map or PCI BAR it lies in.
    pub offset: u64,
    /// In bytes; at least one access wide.
    pub size: u64,
    /// One of `ro`, `wo`, `rw`.
    pub access: Access,
    /// The item size of views and block transfers.
    pub width: Width,
    /// The byte order of views and block transfers.
    pub byte_order: ByteOrder,
    /// The UIO map it lies in, where the map says so.
    pub uio_map: Option<UioMap>,
    /// The PCI base address register it lies in, 0 to 5, where the map says so.
    pub pci_bar: Option<u8>,
    /// Block transfers go all to one address by default.
    pub fifo: bool,
    /// Reading any word of it has a side effect that no register of the map tells of.
    pub on_read: Option<OnRead>,
    /// Registers and groups, in the order of their offsets.
    pub nodes: Nodes,
}

/// One of a UIO device's maps, by what sysfs calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum UioMap {
    /// `maps/map3` is 3.
    Index(u32),
    /// The content of `maps/mapN/name`.
    Name(String),
}

/// What a region or a group holds.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Node {
    /// A register, or an array of like ones.
    Register(Register),
    /// A cluster of registers, or an array of like ones.
    Group(Group),
}

impl Node {
    /// The name of the register or group.
    pub fn name(&self) -> &str {
        match self {
            Node::Register(register) => &register.name,
            Node::Group(group) => &group.name,
        }
    }

    /// From the start of the region or group that holds it, in bytes.
    pub fn offset(&self) -> u64 {
        match self {
            Node::Register(register) => register.offset,
            Node::Group(group) => group.offset,
        }
    }

    /// How often it repeats, if it is an array.
    pub fn array(&self) -> Option<Array> {
        match self {
            Node::Register(register) => register.array,
            Node::Group(group) => group.array,
        }
    }
}

/// How often something repeats, and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Array {
    /// At least 1.
    pub count: u64,
    /// From one element's start to the next, in bytes.
    pub stride: u64,
}

/// A repeated or nested cluster of registers.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Unique among its neighbours.
    pub name: String,
    /// What it is for.
    pub doc: Option<String>,
    /// From the start of what holds it, in bytes.
    pub offset: u64,
    /// Set where it repeats.
    pub array: Option<Array>,
    /// Registers and groups, in the order of their offsets.
    pub nodes: Nodes,
}

/// A register's value after reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reset {
    /// The value; 0 where the mask is 0.
    pub value: u64,
    /// The bits whose value is defined.
    pub mask: u64,
}

/// What a register must hold when the device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Expect {
    /// The value, 0 where the mask is 0.
    pub value: u64,
    /// The bits compared.
    pub mask: u64,
}

/// The order of the two halves of a 64-bit register on a 32-bit bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Bits 31:0 first.
    LowFirst,
    /// Bits 63:32 first.
    HighFirst,
}

/// What a field write puts in bits that no field covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reserved {
    /// What was read.
    Preserve,
    /// Zeros.
    Zero,
    /// Ones.
    One,
}

/// Registers that act on this one's bits, named by path from the same region or group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Aliases {
    /// Ones written there set bits here.
    pub set: Option<String>,
    /// Ones written there clear bits here.
    pub clear: Option<String>,
    /// Ones written there toggle bits here.
    pub toggle: Option<String>,
}

/// A register.
#[derive(Clone, Debug, Serialize)]
pub struct Register {
    /// Its number in the map, counted from 0 through groups and regions; all elements of an array have the same.
    #[serde(skip)]
    pub id: u32,
    /// Unique among its neighbours.
    pub name: String,
    /// What it is for.
    pub doc: Option<String>,
    /// From the start of what holds it, in bytes; a multiple of its width.
    pub offset: u64,
    /// Set where it repeats.
    pub array: Option<Array>,
    /// The width of the register, which is that of its access unless `split`.
    pub width: Width,
    /// The order of its bytes.
    pub byte_order: ByteOrder,
    /// What software may do with it.
    pub access: Access,
    /// Its value after reset, where known.
    pub reset: Option<Reset>,
    /// What it must hold at open.
    pub expect: Option<Expect>,
    /// Its value may change without a write. Read for `wait` and watched for changes; default true.
    pub volatile: bool,
    /// A 64-bit register that is two accesses on the bus.
    pub split: Option<Split>,
    /// The data register of a FIFO, and how many words that holds (0: unknown).
    pub fifo: Option<u64>,
    /// What a read does, for the bits no field covers too.
    pub on_read: Option<OnRead>,
    /// What a write does, for the bits no field covers too.
    pub on_write: Option<OnWrite>,
    /// It shares its address with another on purpose.
    pub overlaps: bool,
    /// Bits no field covers.
    pub reserved: Reserved,
    /// Registers that set, clear or toggle this one's bits.
    pub aliases: Aliases,
    /// In the order of their bits, lowest first.
    pub fields: Vec<Field>,
}

/// One of the accesses that a register takes on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusAccess {
    /// In bytes from the start of the register.
    pub offset: u64,
    /// Its width.
    pub width: Width,
    /// The bit of the register that its lowest bit is.
    pub shift: u32,
}

impl BusAccess {
    /// The bits of the register that it carries.
    pub const fn mask(&self) -> u64 {
        self.width.mask() << self.shift
    }

    /// Its part of the register's value, or of a mask of the register.
    pub const fn cut(&self, value: u64) -> u64 {
        value >> self.shift & self.width.mask()
    }
}

impl Register {
    /// The width of one bus access in bytes: half the register's where it is `split`.
    pub const fn access_bytes(&self) -> u64 {
        if self.split.is_some() { 4 } else { self.width.bytes() as u64 }
    }

    /// What a read or a write of it is on the bus: its accesses, in their order.
    pub fn accesses(&self) -> Vec<BusAccess> {
        let access = |shift: u32| {
            let width = Width::W32;
            let above = u64::from(shift / 8);
            let offset = match self.byte_order {
                ByteOrder::Little => above,
                ByteOrder::Big => (self.width.bytes() - width.bytes()) as u64 - above,
            };
            BusAccess { offset, width, shift }
        };
        match self.split {
            None => vec![BusAccess { offset: 0, width: self.width, shift: 0 }],
            Some(Split::LowFirst) => vec![access(0), access(32)],
            Some(Split::HighFirst) => vec![access(32), access(0)],
        }
    }
}

/// A field: some bits of a register with one meaning.
#[derive(Clone, Debug, Serialize)]
pub struct Field {
    /// Unique in its register.
    pub name: String,
    /// What it is for.
    pub doc: Option<String>,
    /// The lowest bit, 0 to 63.
    pub lsb: u32,
    /// In bits, 1 to 64.
    pub width: u32,
    /// What software may do with it.
    pub access: Access,
    /// What a read of the register does to it.
    pub on_read: Option<OnRead>,
    /// What a write of the register does to it.
    pub on_write: Option<OnWrite>,
    /// A 1 written goes back to 0 by itself (SystemRDL `singlepulse`).
    pub self_clear: bool,
    /// Names of what is read.
    pub values: Vec<Value>,
    /// Names of what is written, where they differ from those read.
    pub write_values: Option<Vec<Value>>,
}

impl Field {
    /// The highest bit, 0 to 63.
    pub const fn msb(&self) -> u32 {
        self.lsb + self.width - 1
    }

    /// The field's bits, in place in the register.
    pub const fn mask(&self) -> u64 {
        mask(self.width) << self.lsb
    }

    /// The names for values written.
    pub fn names_for_write(&self) -> &[Value] {
        self.write_values.as_deref().unwrap_or(&self.values)
    }
}

/// A name for one number of a field (SVD `enumeratedValue`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value {
    /// Unique in its field.
    pub name: String,
    /// Fits the field.
    pub value: u64,
    /// What it means.
    pub doc: Option<String>,
}
