//! The opcodes that the gate has to know, by what they do, for the interpreter it runs in.
//!
//! Opcode numbers change with every minor version, names rarely do: the table is made from what the interpreter's `opcode`
//! module said when this crate was built for it. Importing that module would need a file, which a program that has used
//! up its descriptors cannot open.

/// Opcode names and numbers of this minor version.
const NAMES: &[(&str, usize)] = include!(concat!(env!("OUT_DIR"), "/opcodes.rs"));

/// What an instruction does, as far as the gate cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Other,
    /// Space for a specialised instruction's data; no instruction.
    Cache,
    ExtendedArg,
    /// Start of a function, or return to a generator or coroutine.
    Resume,
    Call,
    /// Opens a `with` or `async with`: the manager's enter runs here.
    BeforeWith,
    /// Finds a manager's enter (an even argument) or exit. From 3.14, where what runs it is an ordinary call.
    LoadSpecial,
    /// May leave a callable on the stack, ready for its arguments.
    LoadCallable,
    /// Runs a manager's exit because of an exception.
    WithExceptStart,
    PushExcInfo,
    /// Compares the exception with what an `except` clause names.
    CheckMatch,
    Reraise,
    PopTop,
    Nop,
    LoadConst,
    /// Copies a stack item; first of the handler that cleans up after a handler.
    Copy,
    /// Makes the generator object and leaves the first run of the frame.
    ReturnGenerator,
    /// Leaves the frame, or raises.
    Leave,
    Jump {
        back: bool,
        conditional: bool,
    },
    /// Takes the next item of a loop, or jumps past the loop.
    ForIter,
}

/// Kinds by opcode number.
pub(super) struct Opcodes([Kind; 256]);

impl Opcodes {
    /// The table of this interpreter.
    pub(super) fn get() -> &'static Opcodes {
        static TABLE: std::sync::LazyLock<Opcodes> = std::sync::LazyLock::new(|| {
            let mut table = [Kind::Other; 256];
            for (name, number) in NAMES {
                // Instrumented and pseudo instructions, which compiled code does not hold, have larger numbers.
                if let Some(slot) = table.get_mut(*number) {
                    *slot = kind(name);
                }
            }
            Opcodes(table)
        });
        &TABLE
    }

    pub(super) fn kind(&self, opcode: u8) -> Kind {
        self.0[usize::from(opcode)]
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "CACHE" => Kind::Cache,
        "EXTENDED_ARG" => Kind::ExtendedArg,
        "RESUME" => Kind::Resume,
        "CALL" | "CALL_FUNCTION_EX" | "CALL_KW" => Kind::Call,
        "BEFORE_WITH" | "BEFORE_ASYNC_WITH" => Kind::BeforeWith,
        "LOAD_SPECIAL" => Kind::LoadSpecial,
        "PUSH_NULL" | "LOAD_GLOBAL" | "LOAD_ATTR" | "LOAD_SUPER_ATTR" => Kind::LoadCallable,
        "WITH_EXCEPT_START" => Kind::WithExceptStart,
        "PUSH_EXC_INFO" => Kind::PushExcInfo,
        "CHECK_EXC_MATCH" | "CHECK_EG_MATCH" => Kind::CheckMatch,
        "RERAISE" => Kind::Reraise,
        "POP_TOP" => Kind::PopTop,
        "NOP" | "NOT_TAKEN" => Kind::Nop,
        "LOAD_CONST" => Kind::LoadConst,
        "COPY" => Kind::Copy,
        "RETURN_GENERATOR" => Kind::ReturnGenerator,
        "RETURN_VALUE" | "RETURN_CONST" | "RAISE_VARARGS" => Kind::Leave,
        "FOR_ITER" => Kind::ForIter,
        "JUMP_FORWARD" => Kind::Jump { back: false, conditional: false },
        "JUMP_BACKWARD" | "JUMP_BACKWARD_NO_INTERRUPT" => {
            Kind::Jump { back: true, conditional: false }
        }
        "SEND" => Kind::Jump { back: false, conditional: true },
        _ if name.starts_with("POP_JUMP_BACKWARD_IF") => {
            Kind::Jump { back: true, conditional: true }
        }
        _ if name.starts_with("POP_JUMP_") || name.starts_with("JUMP_IF_") => {
            Kind::Jump { back: false, conditional: true }
        }
        _ => Kind::Other,
    }
}
