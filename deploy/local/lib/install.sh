# shellcheck shell=bash
# The software: Debian's own packages into the system, MySQL from unstable and Kafka's jars into $SOFTWARE.
# A folder below $SOFTWARE is complete when it is there: it is filled under another name and renamed.

APT_PACKAGES=(
  cmake pkg-config libssl-dev libzstd-dev libcurl4-openssl-dev zlib1g-dev g++ make # what cargo build needs
  postgresql pgbouncer default-mysql-client kcat sysbench python3-venv curl jq                    # servers and tools
)
KAFKA_POM=$HERE/kafka/pom.xml

install_all() {
  make_home
  is_installed && return
  take_lock install "an installation"
  install_packages
  install_mysql
  install_kafka
  release_lock
}

# The versions, because unstable moves: a test report should say what it ran on.
describe_software() {
  local jar
  jar=$(printf '%s\n' "$(kafka_home)"/kafka_*.jar)
  say "MySQL $(<"$SOFTWARE/mysql/VERSION"), Kafka $(basename "${jar##*-}" .jar), $("$(postgres_bin)/postgres" --version)"
}

kafka_home() {
  local sum
  sum=$(sha256sum <"$KAFKA_POM")
  printf '%s/kafka-%s' "$SOFTWARE" "${sum:0:12}"
}

missing_packages() {
  local -A found=()
  local name status
  while read -r name status; do
    [[ $status == ii ]] && found[${name%%:*}]=1
  done < <(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' "${APT_PACKAGES[@]}" 2>/dev/null || true)
  for name in "${APT_PACKAGES[@]}"; do [[ -n ${found[$name]:-} ]] || printf '%s\n' "$name"; done
}

is_installed() {
  [[ -d $SOFTWARE/mysql && -d $(kafka_home) && -z $(missing_packages) ]]
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  ((EUID == 0)) || die "not root; ask for: apt-get install ${missing[*]}"
  # The package would start a cluster of its own on port 5432; ours are private.
  if ! dpkg-query -W -f '${db:Status-Abbrev}' postgresql-common 2>/dev/null | grep -q '^ii'; then
    mkdir -p /etc/postgresql-common/createcluster.d
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.d/tributary-local.conf
  fi
  # So would this one, on port 6432; tests start their own.
  if [[ -d /run/systemd/system && " ${missing[*]} " == *" pgbouncer "* ]]; then systemctl mask pgbouncer.service; fi
  step "apt-get update" "$LOGS/apt-update.log" update_lists
  step "apt-get install of ${#missing[@]} packages" "$LOGS/apt-install.log" \
    env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold \
    install -y --no-install-recommends "${missing[@]}"
}

# Again, because apt does not wait for its lists' lock. And a third party's source that is away fails the update, which
# is none of our business: the install decides.
update_lists() {
  local _
  for _ in 1 2 3; do
    if apt-get update; then return; fi
    sleep 2
  done
}

install_mysql() {
  [[ -d $SOFTWARE/mysql ]] && return
  step "MySQL from Debian unstable" "$LOGS/install-mysql.log" unpack_unstable mysql mysql-server-core
  say "  which is mysql-server-core $(<"$SOFTWARE/mysql/VERSION")"
}

install_kafka() {
  local to
  to=$(kafka_home)
  [[ -d $to ]] && return
  if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then
    die "Kafka wants Java 17 and Maven; ask for: apt-get install openjdk-17-jdk-headless maven"
  fi
  step "Kafka's jars" "$LOGS/install-kafka.log" fetch_jars "$to"
}

fetch_jars() { # to
  local temp
  temp=$(mktemp -d "$SOFTWARE/.kafka.XXXXXX")
  mvn --batch-mode --file "$KAFKA_POM" dependency:copy-dependencies -DoutputDirectory="$temp" || return 1
  chmod 755 "$temp"
  mv -T "$temp" "$1"
}

# Unpacks a package of Debian's unstable suite, with everything that it depends on down to libc, into a prefix of its
# own. apt gets a private state, or it would think of upgrading this system.
unpack_unstable() ( # folder, package
  set -euo pipefail
  temp=$(mktemp -d "$SOFTWARE/.$1.XXXXXX")
  trap 'rm -rf "$temp"' EXIT
  apt=$temp/apt
  mkdir -p "$apt"/{lists/partial,cache/archives/partial,etc} "$temp/root"
  : >"$apt/status"
  # The mirror is the one that this system is configured with: of the sources that have a component "main", not the
  # security archive and not a third party's.
  # shellcheck disable=SC2016 # apt's variables, not ours
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
    awk '$2 == "main" && ($3 == "Debian" || $1 ~ /\/debian\/?$/) && !found++ { print $1 }')
  [[ -n $mirror ]] || { echo "no Debian mirror among this system's apt sources"; exit 1; }
  printf 'deb [signed-by=%s] %s sid main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$mirror" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/etc";
Dir::Etc::preferencesparts "$apt/etc";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
CONF
  export APT_CONFIG=$apt/apt.conf
  apt-get update
  apt-get install -d -y --no-install-recommends "$2"
  # Merged /usr first: packages ship /usr/lib64 and /usr/bin, some scripts name /bin.
  for deb in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$temp/root"; done
  apt-cache policy "$2" | awk '/Candidate:/ { print $2 }' >"$temp/root/VERSION"
  chmod 755 "$temp/root"
  mv -T "$temp/root" "$SOFTWARE/$1"
)
