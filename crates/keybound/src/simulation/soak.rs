//! A month of life.
