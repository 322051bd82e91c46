pub(crate) fn run(_: &crate::args::EmulatorArgs) -> Result<crate::exit::Exit, crate::failure::Failure> { unreachable!() }
