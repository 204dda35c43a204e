"""What ``mfpde VERB --help`` ends with: command lines to copy, each with what it does, and the exit codes."""

from __future__ import annotations

import textwrap

# verb -> (command line, what it does); a test parses every line
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "solve": (
        ("mfpde solve", "the built-in study single-index into the directory single-index"),
        (
            "mfpde solve study.toml -o out --set training.temperature=0.05 --seed 7",
            "a study of yours, two keys changed",
        ),
        ("mfpde solve study.toml -o out --resume", "go on after an interruption, to the same bytes"),
    ),
    "compare": (
        ("mfpde compare out/limit.h5 out/particles.h5 --metric w2", "distance of finite networks to the limit"),
        ("mfpde compare first second --rtol 0 --atol 0", "are two runs the same to the last bit? exit 0 or 1"),
        ("mfpde compare out --metric chaos -o chaos", "rates and constants of the approach, with a figure"),
    ),
    "theory weights": (
        ("mfpde theory weights out -o weights", "of a finished run, with its numbers as JSON and a figure"),
        ("mfpde theory weights linear-network --block a --orders 12", "of a study, moments of a alone"),
    ),
    "theory identify": (
        ("mfpde theory identify cell-tanh --atoms 6", "depths of up to six neurons"),
        ("mfpde theory identify first second --width 512", "are two trained networks one function?"),
    ),
    "theory atoms": (
        ("mfpde theory atoms diabetes-bmi -o atoms", "the sparse dictionary of a target, with a figure"),
        ("mfpde theory atoms diabetes-bmi --temperatures 0.02 0.01 0.005", "how atoms narrow as the temperature falls"),
    ),
    "theory errors": (
        ("mfpde theory errors out --samples 200 --width 256", "the six terms at one width and sample size"),
        ("mfpde theory errors cell-tanh --sweeps all -o errors", "the laws in N, n, t and tau, with a figure"),
    ),
    "theory cell": (("mfpde theory cell cell-relu --atoms 8 -o cell", "as table, JSON, HDF5 and figure"),),
    "theory sgd": (
        ("mfpde theory sgd dimension-free --sweeps N,eps -o sgd", "two of the four steps, with a figure"),
        ("mfpde theory sgd dimension-free --dimensions 10,100,1000", "the width that each dimension needs"),
    ),
    "kernel-limit": (
        ("mfpde kernel-limit", "the digits at output scales 0.1 to 1000"),
        ("mfpde kernel-limit study.toml -o out --set training.time=50", "a study of yours"),
    ),
    "one-step": (
        ("mfpde one-step --no-simulation", "the theory alone, in seconds"),
        ("mfpde one-step one-step-spike -o out", "theory, and networks of finite size beside it"),
    ),
    "deep": (
        ("mfpde deep deep-toy -o out", "limit of infinite width, and finite widths beside it"),
        ("mfpde deep deep-digits --only limit --dry-run", "what it would cost"),
    ),
    "plot": (
        ("mfpde plot out --kind pdf", "the figures of a run as vectors, beside its files"),
        ("mfpde plot out -o figures --animate", "and the density over time as a film"),
    ),
    "report": (
        ("mfpde report out", "one page, out/report.html, that needs no network"),
        ("mfpde report out -o run.html --overwrite", "under another name"),
        ("mfpde report out --follow 5", "a page that follows a run in another terminal"),
    ),
    "sweep": (
        ("mfpde sweep study.toml --grid training.temperature=0.01,0.02,0.05 --jobs 2", "three runs, two at a time"),
        ("mfpde sweep single-index --grid data.dimension=10,100 --grid output.seed=0,1 -o sweep", "all four pairs"),
        ("mfpde sweep study.toml --run training.time=9,output.seed=1 --run training.time=5", "two listed runs"),
    ),
    "studies": (
        ("mfpde studies", "the built-in studies"),
        ("mfpde studies show diabetes-bmi", "one as TOML to start from"),
    ),
    "config": (
        ("mfpde config --template", "a study with every key and what it may be"),
        ("mfpde config --explain training.weight_decay", "one key"),
        ("mfpde config one-step --schema", "JSON Schema of another verb's studies, for an editor"),
    ),
    "info": (
        ("mfpde info out/limit.h5", "groups, shapes, times, provenance"),
        ("mfpde info out/limit.h5 --config", "the study that reproduces the file"),
    ),
    "export": (
        ("mfpde export out --to openpmd", "densities and particles of a run as out-openpmd.h5"),
        ("mfpde export out/limit.h5 --to csv --last", "tables of the last stored time"),
        ("mfpde export out/particles.h5 --to npz -o particles.npz", "for numpy.load"),
    ),
    "cite": (
        ("mfpde cite out", "BibTeX of what a run used"),
        ("mfpde cite one-step", "of what a built-in study will use"),
    ),
    "check": (("mfpde check out/limit.h5 out/particles.h5", "read every number, verify every checksum"),),
    "verify": (("mfpde verify --only order", "the groups of checks whose title holds a word"),),
    "completion": (
        ("mfpde completion bash > ~/.local/share/bash-completion/completions/mfpde", "for every new bash"),
        ("mfpde completion zsh > ~/.zfunc/_mfpde", "for zsh, with fpath+=~/.zfunc before compinit"),
    ),
}
EXIT_CODES = (
    "exit codes: 0 done; 1 differs or did not converge; 2 usage or study; 4 bad data file; 5 numerical failure;"
    " 6 file system; 130, 143 interrupted, state saved"
)


def epilog(verb: str, columns: int) -> str:
    """The examples of a verb and the exit codes, wrapped to so many columns."""
    lines = []
    if verb in EXAMPLES:
        lines.append("examples:")
        for command, purpose in EXAMPLES[verb]:
            lines += [f"  {command}", *(f"      {line}" for line in textwrap.wrap(purpose, columns - 6))]
        lines.append("")
    return "\n".join([*lines, *textwrap.wrap(EXIT_CODES, columns)])
