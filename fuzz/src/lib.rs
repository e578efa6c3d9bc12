//! What the fuzz targets and the smoke run of the test suite share.

pub mod checks;
