//! Phases that have nothing to wait for.
//!
//! pingora's trait wants a boxed future from every phase. One that holds nothing takes no room on the heap, so that a phase
//! which is over before its future is made costs no allocation.

use std::{
    future::{Future, poll_fn, ready},
    pin::Pin,
    task::Poll,
};

use pingora::Result;

/// What a phase returns, as `async_trait` spells it.
pub(super) type Phase<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Writes phases that never wait, with the signatures that `async_trait` gives them.
///
/// In brackets stand the lifetimes of the arguments, in their order.
macro_rules! at_once {
    ($(
        [$($life:lifetime),+]
        fn $name:ident($me:ident $(, $arg:ident: $type:ty)+ $(,)?) -> $out:ty $body:block
    )+) => { $(
        fn $name<'me, $($life,)+ 'phase>(
            &'me $me $(, $arg: $type)+
        ) -> $crate::gateway::phase::Phase<'phase, $out>
        where
            'me: 'phase,
            $($life: 'phase,)+
            Self: 'phase,
        $body
    )+ };
}
pub(super) use at_once;

/// The future of a phase that ended with `result`.
pub(super) fn done<'a>(result: Result<()>) -> Phase<'a, Result<()>> {
    match result {
        Ok(()) => Box::pin(poll_fn(|_| Poll::Ready(Ok(())))),
        Err(error) => Box::pin(ready(Err(error))),
    }
}

/// The future of a phase that cannot fail.
pub(super) fn over<'a>() -> Phase<'a, ()> {
    Box::pin(poll_fn(|_| Poll::Ready(())))
}

/// The future of a phase that says "yes".
pub(super) fn yes<'a>() -> Phase<'a, Result<bool>> {
    Box::pin(poll_fn(|_| Poll::Ready(Ok(true))))
}

/// The future of a phase that says "no".
pub(super) fn no<'a>() -> Phase<'a, Result<bool>> {
    Box::pin(poll_fn(|_| Poll::Ready(Ok(false))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_of_a_phase_that_went_well_takes_no_room() {
        assert_eq!(size_of_val(&*done(Ok(()))), 0);
        assert_eq!(size_of_val(&*over()), 0);
        assert_eq!((size_of_val(&*yes()), size_of_val(&*no())), (0, 0));
    }
}
