//! Answers that were rendered from the latest view, given again as they are until there is another one.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use crate::coliseum::View;
use crate::http::reply::Rendered;
use crate::http::route::JSON;

/// An answer, and what it was rendered from.
pub struct Page<K> {
    /// Its address stays its own as long as it is compared, while the view itself can go: it pins pages of the tables.
    view: Weak<View>,
    key: K,
    pub rendered: Rendered,
}

/// The pages rendered last. Readers load one pointer; a page that two readers render at once is rendered twice, and either
/// is right.
pub struct Pages<K> {
    pages: ArcSwap<Vec<Arc<Page<K>>>>,
}

impl<K> Default for Pages<K> {
    fn default() -> Pages<K> {
        Pages { pages: ArcSwap::default() }
    }
}

impl<K: PartialEq> Pages<K> {
    /// The page of a view; `render` makes its body if it is not there. At most `most` are kept.
    pub fn get(&self, view: &Arc<View>, key: K, most: usize, render: impl FnOnce() -> Vec<u8>) -> Arc<Page<K>> {
        let is_of_view = |page: &Page<K>| std::ptr::eq(page.view.as_ptr(), Arc::as_ptr(view));
        let is_it = |page: &&Arc<Page<K>>| page.key == key && is_of_view(page);
        if let Some(page) = self.pages.load().iter().find(is_it) {
            return page.clone();
        }
        let page = Arc::new(Page { view: Arc::downgrade(view), key, rendered: rendered(render(), view) });
        let mut pages: Vec<_> = self.pages.load().iter().filter(|page| is_of_view(page)).cloned().collect();
        pages.truncate(most - 1);
        pages.insert(0, page.clone());
        self.pages.store(Arc::new(pages));
        page
    }
}

/// The tag is of the bytes: equal answers share it over restarts, other ones do not.
pub fn rendered(body: Vec<u8>, view: &View) -> Rendered {
    let tag = format!("{}-{}-{:08x}", view.applied(), view.minute().get(), crc32fast::hash(&body));
    Rendered::new(JSON, body, &tag).applied(view.applied())
}
