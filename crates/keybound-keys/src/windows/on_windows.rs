//! What Windows itself does, or Wine in its place: the functions, not the decisions. What Wine lacks is rehearsed.
mod certificates;
mod keys;
mod stores;
mod wine_shim;
