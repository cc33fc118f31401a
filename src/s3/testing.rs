pub(crate) struct Nothing;
