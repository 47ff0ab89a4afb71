//! The entry index: per sealed segment and field, roaring bitmaps of the entries that carry a term.
