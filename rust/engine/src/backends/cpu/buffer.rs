//! Activations in memory that is kept from pass to pass, so that a warm step allocates nothing.

/// `(rows, features)` values, row-major.
#[derive(Debug, Default)]
pub struct Buffer {
    /// May hold more than is in use.
    memory: Vec<f32>,
    rows: usize,
    features: usize,
}

impl Buffer {
    /// No rows of this width.
    pub fn new(features: usize) -> Self {
        Self { memory: Vec::new(), rows: 0, features }
    }

    /// Rows in use.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Width of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Makes room for rows; what they hold is left over from earlier passes.
    pub fn set_rows(&mut self, rows: usize) {
        self.reshape(rows, self.features);
    }

    /// Makes room for rows of a new width.
    pub fn reshape(&mut self, rows: usize, features: usize) {
        (self.rows, self.features) = (rows, features);
        if self.memory.len() < rows * features {
            self.memory.resize(rows * features, 0.0);
        }
    }

    /// All rows in use.
    pub fn values(&self) -> &[f32] {
        &self.memory[..self.rows * self.features]
    }

    /// All rows in use.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.rows * self.features]
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values()[row * self.features..][..self.features]
    }

    /// One row.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let features = self.features;
        &mut self.values_mut()[row * features..][..features]
    }
}
