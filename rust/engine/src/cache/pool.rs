//! Counts the holders of each page. Knows no tokens.
use crate::batch::PageId;

/// Who holds one page.
#[derive(Debug, Clone, Copy, Default)]
struct Holders {
    sequences: u32,
    cached: bool,
}

/// All pages of a model.
#[derive(Debug)]
pub struct PagePool {
    holders: Vec<Holders>,
    free: Vec<PageId>,
    idle: usize,
}

impl PagePool {
    /// `count` free pages.
    pub fn new(count: usize) -> Self {
        // Handed out from the end, so that low pages come first.
        Self { holders: vec![Holders::default(); count], free: (0..count as PageId).rev().collect(), idle: 0 }
    }

    /// A free page for one sequence.
    pub fn take(&mut self) -> Option<PageId> {
        let page = self.free.pop()?;
        self.holders[page as usize].sequences = 1;
        Some(page)
    }

    /// One more sequence uses the page, which is not free.
    pub fn share(&mut self, page: PageId) {
        let holders = &mut self.holders[page as usize];
        debug_assert!(holders.sequences > 0 || holders.cached, "page {page} is free");
        self.idle -= usize::from(holders.sequences == 0);
        holders.sequences += 1;
    }

    /// One sequence less uses the page.
    pub fn release(&mut self, page: PageId) {
        let holders = &mut self.holders[page as usize];
        debug_assert!(holders.sequences > 0, "page {page} is not in use");
        holders.sequences -= 1;
        match (holders.sequences, holders.cached) {
            (0, true) => self.idle += 1,
            (0, false) => self.free.push(page),
            _ => {}
        }
    }

    /// The prefix cache keeps the page, which a sequence uses.
    pub fn keep(&mut self, page: PageId) {
        let holders = &mut self.holders[page as usize];
        debug_assert!(holders.sequences > 0, "page {page} is not in use");
        holders.cached = true;
    }

    /// The prefix cache drops the page.
    pub fn drop_kept(&mut self, page: PageId) {
        let holders = &mut self.holders[page as usize];
        debug_assert!(holders.cached, "page {page} is not kept");
        holders.cached = false;
        if holders.sequences == 0 {
            self.idle -= 1;
            self.free.push(page);
        }
    }

    /// Whether only the prefix cache holds the page.
    pub fn is_idle(&self, page: PageId) -> bool {
        self.holders[page as usize].sequences == 0
    }

    /// Pages in all.
    pub fn total(&self) -> usize {
        self.holders.len()
    }

    /// Pages that nobody holds.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pages that only the prefix cache holds.
    pub fn idle(&self) -> usize {
        self.idle
    }
}
