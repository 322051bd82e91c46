/// The services of the emulator, one listener each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    Imds,
    Maa,
    Sts,
    Vault,
    Graph,
    Control,
}
