//! A value that is replaced while others read it: the settings in force.

use std::sync::{Arc, PoisonError, RwLock};

/// Cheap to clone; every clone is the same value. Who reads takes it as it is at that moment and keeps it for the piece of work.
#[derive(Debug)]
pub struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Current<T> {
        Current(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    pub fn new(value: T) -> Current<T> {
        Current(Arc::new(RwLock::new(Arc::new(value))))
    }

    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_with_what_it_took() {
        let current = Current::new(1);
        let (reader, taken) = (current.clone(), current.get());
        current.set(2);
        assert_eq!((*taken, *reader.get()), (1, 2));
    }
}
