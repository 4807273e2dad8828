"""The groups that have several commands; each command is imported when it is called."""

from tools.cli.lazy import Entry, LazyGroup

key = LazyGroup(
    name="key",
    help="Make and show key files, encrypted under a password.",
    entries={
        "new": Entry("tools.cli.keys:new", "Make a new key file."),
        "show": Entry("tools.cli.keys:show", "Show a key file's role, address and public key."),
        "list": Entry("tools.cli.keys:list_keys", "List the key files in a folder."),
    },
)

tx = LazyGroup(
    name="tx",
    help="Send transactions.",
    entries={"send": Entry("tools.cli.send:send", "Send coins to an address.")},
)

task = LazyGroup(
    name="task",
    help="Ask a model and read the proven answer.",
    entries={
        "quote": Entry("tools.cli.task:quote", "Show the models, or the price of a question."),
        "submit": Entry("tools.cli.task:submit", "Ask a model about a batch of inputs."),
        "show": Entry("tools.cli.task:show", "Show how a task stands, and its answer."),
    },
)

proof = LazyGroup(
    name="proof",
    help="Prove a balance to somebody who holds nothing but the genesis file.",
    entries={
        "balance": Entry("tools.cli.proof:balance", "Write the proof of an account's balance to a file."),
        "verify": Entry("tools.cli.proof:verify", "Check such a file offline."),
    },
)

miner = LazyGroup(
    name="miner",
    help="Work for the chain.",
    entries={
        "run": Entry("tools.cli.miner:run", "Do the work that a node hands out, until stopped."),
        "status": Entry("tools.cli.bond:status", "Show a miner's bond: at stake, and free."),
        "bond": Entry("tools.cli.bond:bond", "Add to a miner's bond."),
        "devices": Entry("tools.cli.miner:devices", "List what this machine can work on."),
    },
)

guard = LazyGroup(
    name="guard",
    help="The log of what a consensus key signed, which keeps it from contradicting itself.",
    entries={
        "create": Entry("tools.cli.guard:create", "Make the log of a key that never signed."),
        "export": Entry("tools.cli.guard:export_log", "Write down what may be signed, to move the key."),
        "import": Entry("tools.cli.guard:import_log", "Take in what was written down elsewhere."),
    },
)

peers = LazyGroup(
    name="peers",
    help="See and lift a node's bans.",
    entries={
        "bans": Entry("tools.cli.peers:bans", "List the peers that may not connect, and why."),
        "lift": Entry("tools.cli.peers:lift", "End a peer's ban."),
    },
)

node = LazyGroup(
    name="node",
    help="Run a node.",
    entries={
        "init": Entry("tools.cli.node:init", "Make a node's folder: configuration and keys."),
        "run": Entry("tools.cli.node:run", "Follow a chain, and vote if the node's key holds seats."),
    },
)

genesis = LazyGroup(
    name="genesis",
    help="Read genesis documents.",
    entries={"show": Entry("tools.cli.genesis:show", "Show what a chain is made of.")},
)

model = LazyGroup(
    name="model",
    help="Import models as exact integers, and ask them on this machine.",
    entries={
        "import": Entry("tools.cli.model:import_", "Turn a Hugging Face folder into integers."),
        "show": Entry("tools.cli.model:show", "Show a model, and how far from the float one it is."),
        "ask": Entry("tools.cli.model:ask", "Let a model write, or compare texts."),
    },
)

bench = LazyGroup(
    name="bench",
    help="Measure this machine.",
    entries={"work": Entry("tools.cli.bench:work", "Time exact work beside torch's own arithmetic.")},
)
