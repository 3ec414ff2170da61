//! A cache's rows go on by one position each: what a decoder's step does. A head's key and value are written when the lines that it reads are
//! near, by the thread that looks at them, instead of all of them before all of the attention.

use super::forward::{Pass, forward, some_jobs};
use super::pages::Writer;
use super::{Call, Mask, PAGE, Pages, Sizes, View, ViewMut};
use crate::error::{Error, check_indices, check_length};
use crate::parallel::threads_for;
use crate::workspace::scratch;
use crate::{Real, Result};
use std::ops::Range;

/// Where the rows of a cache stand when each has one position more.
pub struct Standing<'a> {
    table: &'a [i64],
    ends: &'a [i64],
    /// Pages and slots of the new positions.
    places: [Vec<i64>; 2],
    /// Pages that there must be.
    pages: usize,
}

impl<'a> Standing<'a> {
    /// `table` `[R, most]`: which of `pages` a row has; `ends` `[R]`: keys that each row has with the new one. Refuses pages that are not there, and
    /// those that would be written but belong to another row too.
    pub fn new(table: &'a [i64], ends: &'a [i64], pages: usize) -> Result<Self> {
        let (most, page) = (table.len().checked_div(ends.len()).unwrap_or(0), PAGE as i64);
        check_length("attention", "table", table.len(), ends.len() * most)?;
        check_indices("attention", "table", table, pages, None)?;
        if let Some(end) = ends.iter().find(|&&end| end < 1 || end > most as i64 * page) {
            return Err(Error::Config(format!("[attention] ends: expected 1 to {} keys, got {end}", most * PAGE)));
        }
        let mut users = vec![0; pages];
        for (row, &end) in ends.iter().enumerate() {
            table[row * most..][..(end as usize).div_ceil(PAGE)].iter().for_each(|&page| users[page as usize] += 1);
        }
        let last = |(row, &end): (usize, &i64)| table[row * most + (end - 1) as usize / PAGE];
        let written: Vec<_> = ends.iter().enumerate().map(last).collect();
        if let Some(page) = written.iter().find(|&&page| users[page as usize] > 1) {
            return Err(Error::Config(format!("[attention] table: expected page {page}, which is written, in one row alone")));
        }
        Ok(Self { table, ends, places: [written, ends.iter().map(|end| (end - 1) % page).collect()], pages })
    }
}

/// One layer's pages while their rows go on.
pub struct Growth<'a, T> {
    standing: &'a Standing<'a>,
    sizes: [usize; 2],
    keys: View<'a, T>,
    values: View<'a, T>,
    writer: Writer<'a, T>,
    scale: f64,
}

impl<'a, T: Real> Growth<'a, T> {
    /// `scale`: factor of the scores.
    pub fn new(pages: &'a mut Pages<'_, T>, standing: &'a Standing<'a>, scale: f64) -> Result<Self> {
        check_length("attention", "pages", pages.whole()?, standing.pages)?;
        let nothing = View::new(&[], [0; 4]);
        let writer = pages.writer([&[], &[]], 1, [nothing; 2]);
        let sizes = [pages.heads, pages.width];
        let [keys, values] = pages.views();
        Ok(Self { standing, sizes, keys, values, writer, scale })
    }

    /// Keys and values `[rows, 1, heads, D]` of some rows go into the pages, and their queries look at all that the rows have then: contexts
    /// `[rows, 1, heads, D]`. The bits of [`Pages::write`] and [`forward`].
    ///
    /// # Safety
    /// No two calls at the same time have a row in common.
    pub unsafe fn rows(&self, rows: Range<usize>, [q, k, v]: [View<'_, T>; 3], context: ViewMut<'_, T>) -> Result<()> {
        let ([heads, width], Standing { table, ends, places, .. }) = (self.sizes, self.standing);
        let most = table.len().checked_div(ends.len()).unwrap_or(0);
        let (table, ends) = (&table[rows.start * most..rows.end * most], &ends[rows.clone()]);
        let places = places.each_ref().map(|p| &p[rows.clone()]);
        let writer = self.writer.of(places, [k, v]);
        let batch = rows.len();
        let sizes = Sizes { batch, heads, key_heads: heads, targets: 1, sources: most * PAGE, width, values: width };
        let mask = Mask { lengths: Some(ends), ..Mask::default() };
        let (k, v) = (self.keys, self.values);
        let call = Call { sizes, q, k, v, pages: Some(table), scale: self.scale, mask, dropout: None };
        call.check()?;
        let (all, threads) = (batch * heads, threads_for(2.0 * call.operations()));
        // SAFETY: the places exist, as `Standing` saw, and their pages are in one row alone; a head of a row is one thread's.
        let put = |job: usize| unsafe { writer.put(job / heads, job % heads) };
        if all < threads {
            (0..all).for_each(put);
            return forward(&call, context, None);
        }
        let pass = Pass::of(&call);
        let own = || (pass.buffers(), [scratch(1), scratch(1)]);
        some_jobs(threads, all, own, |own, some| {
            put(some.start);
            for job in some.clone() {
                // One ahead: a line of which a part was just written cannot be read whole at once.
                if job + 1 < some.end {
                    put(job + 1);
                }
                if job + 2 < some.end {
                    writer.ask((job + 2) / heads, (job + 2) % heads);
                }
                pass.rows((job / heads, job % heads), 0..1, &context, None, own);
            }
        });
        Ok(())
    }
}
