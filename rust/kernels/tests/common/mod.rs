//! Numbers for tests: small, reproducible, nothing special about them.

/// A linear congruential generator; enough to fill matrices.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// In -1..1.
    pub fn next(&mut self) -> f32 {
        self.bits() as f32 / (1u64 << 30) as f32 - 1.0
    }

    pub fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// Largest difference over largest value.
pub fn relative_error(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(1e-20f32, |m, v| m.max(v.abs()));
    found.iter().zip(wanted).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}
