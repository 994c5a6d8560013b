//! The store's contract: every public function of it, on both databases, through one body.
