pub(crate) fn run(_: &crate::args::DemoArgs) -> Result<crate::exit::Exit, crate::failure::Failure> { unreachable!() }
