//! f32 rounded to bfloat16, to the nearest and then to even.

use std::{
    arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_si512, _mm512_permutexvar_epi16,
        _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
        _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    },
    array,
    mem::transmute,
};

use super::product::{DEPTH, SIDE};

/// Rounds two vectors, to the values of the first and then those of the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub fn round(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both are vectors of 32 values of 16 bits.
    unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first)) }
}

/// Rounds two vectors to pairs of a value of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub fn round_to_pairs(first: __m512, second: __m512) -> __m512i {
    let places: [u16; DEPTH] = array::from_fn(|place| (place / 2 + place % 2 * SIDE) as u16);
    // SAFETY: both have 512 bits.
    let places = unsafe { transmute::<[u16; DEPTH], __m512i>(places) };
    _mm512_permutexvar_epi16(places, round(first, second))
}

/// Transposes `rows` of `length` values, a multiple of [`DEPTH`], to the right tiles of a product over them: `[pair of
/// values, row, value of the pair]`, with the rows padded to whole tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub fn transpose(rows: &[u16], length: usize, target: &mut [u32]) {
    let count = rows.len() / length;
    let pitch = count.next_multiple_of(SIDE);
    for first in (0..count).step_by(SIDE) {
        for place in (0..length).step_by(DEPTH) {
            // SAFETY: each vector is inside its slice.
            unsafe {
                let mut tile = [_mm512_setzero_si512(); SIDE];
                for (tile, row) in tile.iter_mut().zip(first..count) {
                    *tile = _mm512_loadu_si512(rows[row * length + place..][..DEPTH].as_ptr().cast());
                }
                for (pair, vector) in transposed(tile).into_iter().enumerate() {
                    let target = &mut target[(place / 2 + pair) * pitch + first..][..SIDE];
                    _mm512_storeu_si512(target.as_mut_ptr().cast(), vector);
                }
            }
        }
    }
}

/// Transposes a square of 32-bit values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub fn transposed(rows: [__m512i; SIDE]) -> [__m512i; SIDE] {
    let mut twos = rows;
    for row in (0..SIDE).step_by(2) {
        twos[row] = _mm512_unpacklo_epi32(rows[row], rows[row + 1]);
        twos[row + 1] = _mm512_unpackhi_epi32(rows[row], rows[row + 1]);
    }
    // `fours[4 r + c]` has column 4 l + c of rows 4 r to 4 r + 3 in its lane l of 128 bits.
    let mut fours = twos;
    for row in (0..SIDE).step_by(4) {
        for half in 0..2 {
            let [upper, lower] = [twos[row + half], twos[row + 2 + half]];
            fours[row + 2 * half] = _mm512_unpacklo_epi64(upper, lower);
            fours[row + 2 * half + 1] = _mm512_unpackhi_epi64(upper, lower);
        }
    }
    let mut columns = fours;
    for column in 0..4 {
        let (first, second) = (fours[column], fours[4 + column]);
        let (third, fourth) = (fours[8 + column], fours[12 + column]);
        let left = _mm512_shuffle_i32x4::<0b01_00_01_00>(first, second);
        let right = _mm512_shuffle_i32x4::<0b11_10_11_10>(first, second);
        let left_below = _mm512_shuffle_i32x4::<0b01_00_01_00>(third, fourth);
        let right_below = _mm512_shuffle_i32x4::<0b11_10_11_10>(third, fourth);
        columns[column] = _mm512_shuffle_i32x4::<0b10_00_10_00>(left, left_below);
        columns[4 + column] = _mm512_shuffle_i32x4::<0b11_01_11_01>(left, left_below);
        columns[8 + column] = _mm512_shuffle_i32x4::<0b10_00_10_00>(right, right_below);
        columns[12 + column] = _mm512_shuffle_i32x4::<0b11_01_11_01>(right, right_below);
    }
    columns
}
