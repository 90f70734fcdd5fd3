//! How often forecasts came true lately. Knows no tokens.

/// The share of forecasts that came true; recent ones count more.
#[derive(Debug, Clone, Copy)]
pub struct Chance(f64);

impl Chance {
    /// Weight of the newest forecast: about the last dozen count.
    const STEP: f64 = 1.0 / 12.0;

    /// What to believe before anything was seen.
    pub const fn new(prior: f64) -> Self {
        Self(prior)
    }

    /// One more forecast came true or not.
    pub fn note(&mut self, came_true: bool) {
        self.0 += (f64::from(u8::from(came_true)) - self.0) * Self::STEP;
    }

    /// Between 0 and 1.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// Chances by how many tokens agreed before the forecast.
#[derive(Debug, Clone)]
pub struct Chances([Chance; 5]);

impl Default for Chances {
    /// As measured on free text of a small model at temperature 1; on any other text they are higher.
    fn default() -> Self {
        Self([0.25, 0.3, 0.5, 0.7, 0.9].map(Chance::new))
    }
}

impl Chances {
    /// A forecast after `agreed` tokens came true or not.
    pub fn note(&mut self, agreed: usize, came_true: bool) {
        self.0[Self::class(agreed)].note(came_true);
    }

    /// Chance of a forecast after `agreed` tokens.
    pub fn value(&self, agreed: usize) -> f64 {
        self.0[Self::class(agreed)].value()
    }

    fn class(agreed: usize) -> usize {
        match agreed {
            0..=2 => 0,
            3 => 1,
            4..=5 => 2,
            6..=9 => 3,
            _ => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_lately_outweighs_what_was_believed() {
        let mut chances = Chances::default();
        (0..40).for_each(|_| chances.note(3, true));
        assert!(chances.value(3) > 0.95);
        (0..40).for_each(|_| chances.note(3, false));
        assert!(chances.value(3) < 0.05);
        assert_eq!(chances.value(2), Chances::default().value(2));
    }

    #[test]
    fn the_share_is_found() {
        let mut chance = Chance::new(0.0);
        let mut sum = 0.0;
        for turn in 0..4000 {
            chance.note(turn % 4 == 0);
            sum += chance.value();
        }
        assert!((sum / 4000.0 - 0.25).abs() < 0.01);
    }
}
