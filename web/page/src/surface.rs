//! The loss surface in three dimensions.
