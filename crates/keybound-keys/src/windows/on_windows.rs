//! Tests of the functions of Windows itself, or of Wine. A shim adds the functions that Wine lacks.
mod certificates;
mod keys;
mod stores;
mod wine_shim;
