//! hv's options: words on the command line that the door hands over. Words that begin with
//! [`MANAGEMENT`] are the management VM's, which gets the whole line.

/// What happens after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPanic {
    /// The machine restarts after ten seconds.
    Reboot,
    /// The machine stays as it is, for whoever wants to look.
    Halt,
}

/// A fault to make on purpose once hv is up, to see that it is told well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// `panic!`.
    Panic,
    /// A read through an address that is not mapped.
    PageFault,
    /// Recursion without end, into the guard page.
    StackOverflow,
    /// A panic on a CPU that is not the first.
    OtherCpu,
}

/// All options, with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `panic=reboot|halt`.
    pub after_panic: AfterPanic,
    /// `test=panic|page-fault|stack-overflow|other-cpu`.
    pub drill: Option<Drill>,
}

impl Default for Options {
    fn default() -> Self {
        Self { after_panic: AfterPanic::Reboot, drill: None }
    }
}

/// The options that there are, for whoever mistyped one.
pub const KNOWN: &str = "panic=reboot|halt test=panic|page-fault|stack-overflow|other-cpu";

/// What the management VM's words begin with.
pub const MANAGEMENT: &str = "mgmt.";

impl Options {
    /// Reads `line`; every word that is not an option is told to `unknown` and changes nothing.
    pub fn parse(line: &str, mut unknown: impl FnMut(&str)) -> Self {
        let mut options = Self::default();
        for word in line.split_whitespace() {
            match word {
                "panic=reboot" => options.after_panic = AfterPanic::Reboot,
                "panic=halt" => options.after_panic = AfterPanic::Halt,
                "test=panic" => options.drill = Some(Drill::Panic),
                "test=page-fault" => options.drill = Some(Drill::PageFault),
                "test=stack-overflow" => options.drill = Some(Drill::StackOverflow),
                "test=other-cpu" => options.drill = Some(Drill::OtherCpu),
                word if word.starts_with(MANAGEMENT) => {}
                word => unknown(word),
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_the_last_one_wins() {
        let options = Options::parse(" panic=halt  test=page-fault panic=reboot ", |word| panic!("{word}"));
        assert_eq!(options, Options { after_panic: AfterPanic::Reboot, drill: Some(Drill::PageFault) });
    }

    #[test]
    fn an_unknown_word_is_told_and_changes_nothing() {
        let mut told = heapless::Vec::<heapless::String<16>, 4>::new();
        let options = Options::parse("panic=hlt mgmt.x=1 quiet", |word| {
            told.push(word.try_into().expect("short")).expect("few");
        });
        assert_eq!(options, Options::default());
        assert_eq!(told, ["panic=hlt", "quiet"]);
    }

    #[test]
    fn every_option_named_in_the_help_is_one() {
        for (key, values) in KNOWN.split(' ').map(|option| option.split_once('=').expect("key=values")) {
            for value in values.split('|') {
                let mut word = heapless::String::<32>::new();
                word.push_str(key)
                    .and_then(|()| word.push('='))
                    .and_then(|()| word.push_str(value))
                    .expect("short");
                Options::parse(&word, |word| panic!("{word} is not an option"));
            }
        }
    }
}
