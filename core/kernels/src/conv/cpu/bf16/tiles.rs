//! Products of tiles in bfloat16, summed in f32 by the processor's matrix unit or by its vectors.

use std::{
    arch::{asm, x86_64::__cpuid_count},
    marker::PhantomData,
    mem::offset_of,
    sync::OnceLock,
};

use super::{
    dot_products,
    product::{MOST, Product, SIDE},
};

/// Bytes of a tile's row.
const ROW: usize = 64;

/// What multiplies tiles. It shows that the processor has vectors for bfloat16 (AVX-512 BF16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The matrix unit (AMX) of Intel's processors since Sapphire Rapids.
    Matrix,
    /// Dot products of pairs, by vectors: AMD's processors since Zen 4.
    Vectors,
}

impl Unit {
    /// Returns the processor's fastest unit, if it has one.
    pub fn get() -> Option<Self> {
        static UNIT: OnceLock<Option<Unit>> = OnceLock::new();
        *UNIT.get_or_init(|| Self::matrix().or_else(Self::vectors))
    }

    /// Returns the matrix unit, if there is one.
    pub fn matrix() -> Option<Self> {
        (Self::vectors().is_some() && has_amx()).then_some(Self(Kind::Matrix))
    }

    /// Returns the vectors, if they have dot products of bfloat16.
    pub fn vectors() -> Option<Self> {
        let has_vectors = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16");
        has_vectors.then_some(Self(Kind::Vectors))
    }
}

/// Returns whether there is a matrix unit for bfloat16 that the system lets this process use.
fn has_amx() -> bool {
    // Bits of cpuid's leaf 7; `is_x86_feature_detected` has no stable name for them yet.
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    __cpuid_count(7, 0).edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE && is_permitted()
}

/// Asks Linux for the tile registers, which it saves only for processes that want them.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes numbers and changes only what the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Shapes of the tiles, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// All eight tiles of full size.
    const FULL: Self = {
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            (row_bytes[tile], rows[tile]) = (ROW as u16, SIDE as u8);
            tile += 1;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
    };
}

/// A thread's unit, ready to multiply. The tiles are released when it is dropped.
pub struct Multiplier {
    unit: Unit,
    /// The tiles are those of one thread.
    _not_send: PhantomData<*const ()>,
}

impl Multiplier {
    /// Prepares this thread's unit.
    pub fn new(unit: Unit) -> Self {
        static FULL: TileConfig = TileConfig::FULL;
        if unit.0 == Kind::Matrix {
            // SAFETY: the processor has this unit, and the configuration is one that it supports.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const FULL, options(nostack, readonly)) };
        }
        Self { unit, _not_send: PhantomData }
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        if self.unit.0 == Kind::Matrix {
            // SAFETY: the processor has this unit.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }
}

/// The matrix unit's loop over all terms. `load` and `store` are for the sums, `term` multiplies; they depend on the
/// number of tiles. It is one block because the compiler does not know what tiles hold.
macro_rules! sum {
    ($product:expr, load: [$($load:literal),*], term: [$($term:literal),*], store: [$($store:literal),*]) => {
        asm!(
            "mov {sums}, [{p} + {sums_at}]",
            "mov {sums_below}, [{p} + {sums_at} + 8]",
            "mov {n}, [{p} + {sums_pitch}]",
            "cmp byte ptr [{p} + {continues}], 0",
            "je 2f",
            $($load,)*
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "mov {n}, [{p} + {terms}]",
            "4:",
            $($term,)*
            "add {left}, [{p} + {left_step}]",
            "add {below}, [{p} + {left_step}]",
            "add {right}, [{p} + {right_step}]",
            "dec {n}",
            "jnz 4b",
            "add {left}, [{p} + {left_jump}]",
            "add {below}, [{p} + {left_jump}]",
            "dec {runs}",
            "jnz 3b",
            "mov {n}, [{p} + {sums_pitch}]",
            $($store,)*
            p = in(reg) $product,
            left = inout(reg) $product.left[0] => _,
            below = inout(reg) $product.left[1] => _,
            right = inout(reg) $product.right => _,
            a = in(reg) $product.left_pitch,
            b = in(reg) $product.right_pitch,
            runs = inout(reg) $product.runs => _,
            n = out(reg) _,
            sums = out(reg) _,
            sums_below = out(reg) _,
            sums_at = const offset_of!(Product, sums),
            sums_pitch = const offset_of!(Product, sums_pitch),
            continues = const offset_of!(Product, continues),
            terms = const offset_of!(Product, terms),
            left_step = const offset_of!(Product, left_step),
            left_jump = const offset_of!(Product, left_jump),
            right_step = const offset_of!(Product, right_step),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

impl Multiplier {
    /// Computes `rows` by `columns` tiles of sums, one or two each.
    ///
    /// # Safety
    /// All tiles that the product describes are in memory, those of the sums in memory that nothing else uses. There
    /// is at least one run, of at least one term.
    pub unsafe fn multiply(&self, [rows, columns]: [usize; 2], product: &Product) {
        // SAFETY: guaranteed by the caller; the processor has the unit.
        unsafe {
            match (rows, columns) {
                (_, 1) if self.unit.0 == Kind::Vectors => dot_products::multiply::<1>(rows, product),
                (_, MOST) if self.unit.0 == Kind::Vectors => dot_products::multiply::<MOST>(rows, product),
                (1, 1) => sum!(
                    product,
                    load: ["tileloadd tmm0, [{sums} + {n}*1]"],
                    term: [
                        "tileloadd tmm4, [{left} + {a}*1]",
                        "tileloadd tmm6, [{right} + {b}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6"
                    ],
                    store: ["tilestored [{sums} + {n}*1], tmm0"]
                ),
                (1, MOST) => sum!(
                    product,
                    load: ["tileloadd tmm0, [{sums} + {n}*1]", "tileloadd tmm1, [{sums} + {n}*1 + 64]"],
                    term: [
                        "tileloadd tmm4, [{left} + {a}*1]",
                        "tileloadd tmm6, [{right} + {b}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{right} + {b}*1 + 64]",
                        "tdpbf16ps tmm1, tmm4, tmm7"
                    ],
                    store: ["tilestored [{sums} + {n}*1], tmm0", "tilestored [{sums} + {n}*1 + 64], tmm1"]
                ),
                (MOST, 1) => sum!(
                    product,
                    load: ["tileloadd tmm0, [{sums} + {n}*1]", "tileloadd tmm2, [{sums_below} + {n}*1]"],
                    term: [
                        "tileloadd tmm4, [{left} + {a}*1]",
                        "tileloadd tmm6, [{right} + {b}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm5, [{below} + {a}*1]",
                        "tdpbf16ps tmm2, tmm5, tmm6"
                    ],
                    store: ["tilestored [{sums} + {n}*1], tmm0", "tilestored [{sums_below} + {n}*1], tmm2"]
                ),
                (MOST, MOST) => sum!(
                    product,
                    load: [
                        "tileloadd tmm0, [{sums} + {n}*1]", "tileloadd tmm1, [{sums} + {n}*1 + 64]",
                        "tileloadd tmm2, [{sums_below} + {n}*1]", "tileloadd tmm3, [{sums_below} + {n}*1 + 64]"
                    ],
                    term: [
                        "tileloadd tmm4, [{left} + {a}*1]",
                        "tileloadd tmm6, [{right} + {b}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{right} + {b}*1 + 64]",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{below} + {a}*1]",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7"
                    ],
                    store: [
                        "tilestored [{sums} + {n}*1], tmm0", "tilestored [{sums} + {n}*1 + 64], tmm1",
                        "tilestored [{sums_below} + {n}*1], tmm2", "tilestored [{sums_below} + {n}*1 + 64], tmm3"
                    ]
                ),
                _ => unreachable!("one or {MOST} rows and columns of tiles"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::product::DEPTH, *};

    /// A small whole number as bfloat16.
    fn number(place: usize, modulus: usize) -> (u16, f32) {
        let value = (place % modulus) as f32 - 7.0;
        ((value.to_bits() >> 16) as u16, value)
    }

    #[test]
    fn units_multiply() {
        for unit in [Unit::matrix(), Unit::vectors()].into_iter().flatten() {
            multiplies(unit);
        }
    }

    fn multiplies(unit: Unit) {
        const RUNS: usize = 3;
        const TERMS: usize = 2;
        const PITCH: usize = RUNS * (TERMS + 1) * DEPTH;
        // Between runs, a tile of the left rows is skipped.
        let left: Vec<_> = (0..MOST * SIDE * PITCH).map(|place| number(place, 13)).collect();
        let right: Vec<_> = (0..RUNS * TERMS * DEPTH * MOST * SIDE).map(|place| number(place, 17)).collect();
        let left_value = |row: usize, run: usize, value: usize| left[row * PITCH + run * (TERMS + 1) * DEPTH + value].1;
        let right_value = |value: usize, column: usize| right[(value / 2 * MOST * SIDE + column) * 2 + value % 2].1;
        let [left_bits, right_bits]: [Vec<u16>; 2] =
            [&left, &right].map(|of| of.iter().map(|(bits, _)| *bits).collect());
        for (shape, continues) in [([1, 1], true), ([1, 2], false), ([2, 1], false), ([2, 2], true)] {
            let mut sums = [[1.0_f32; MOST * SIDE]; MOST * SIDE];
            let below = shape[0] - 1;
            let product = Product {
                left: [left_bits.as_ptr().cast(), left_bits[below * SIDE * PITCH..].as_ptr().cast()],
                left_pitch: PITCH * size_of::<u16>(),
                left_step: ROW,
                left_jump: ROW,
                right: right_bits.as_ptr().cast(),
                right_pitch: MOST * ROW,
                right_step: SIDE * MOST * ROW,
                terms: TERMS,
                runs: RUNS,
                sums: [sums[0].as_mut_ptr(), sums[below * SIDE].as_mut_ptr()],
                sums_pitch: MOST * ROW,
                continues,
            };
            // SAFETY: all tiles are inside these arrays.
            unsafe { Multiplier::new(unit).multiply(shape, &product) };
            for (row, sums) in sums.iter().enumerate() {
                for (column, sum) in sums.iter().enumerate() {
                    let is_written = row < shape[0] * SIDE && column < shape[1] * SIDE;
                    let terms = (0..RUNS * TERMS * DEPTH).map(|value| {
                        let (run, within) = (value / (TERMS * DEPTH), value % (TERMS * DEPTH));
                        left_value(row, run, within) * right_value(value, column)
                    });
                    let product = if is_written { terms.sum() } else { 0.0 };
                    let before = if continues || !is_written { 1.0 } else { 0.0 };
                    assert_eq!(*sum, before + product, "{unit:?}, {shape:?}, row {row}, column {column}");
                }
            }
        }
    }
}
