# shellcheck shell=bash
# Kafka, one node that is broker and controller. Topics are made by capture, never by accident.

java_with_kafka() { # heap…; sets COMMAND
  COMMAND=(java "$@" -cp "$(kafka_home)/*" -Dorg.slf4j.simpleLogger.showDateTime=true
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS")
}

write_properties() { # file, data folder
  cat >"$1" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
listeners=BROKER://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT
advertised.listeners=BROKER://127.0.0.1:$KAFKA_PORT
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs=$2
auto.create.topics.enable=false
# One node: nothing can be replicated.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# Few partitions of the internal topics: their creation is most of the first use's wait.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# Tests wait for no second member, and want a dead one noticed soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# After a crash the broker may register again only when its old session has ended: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# Rows of up to 32 MB.
message.max.bytes=33554432
replica.fetch.max.bytes=33554432
log.cleaner.backoff.ms=1000
$(printf '%s\n' "${EXTRA_FLAGS[@]}")
PROPERTIES
}

init_kafka() {
  local dir=$INSTANCE_DIR/kafka id
  rm -rf "$dir/data.new"
  install -d -o "$SERVER_USER" -m 755 "$dir/data.new"
  write_properties "$dir/format.properties" "$dir/data.new"
  # A Kafka id is 16 bytes in URL-safe base64 without padding, and may not begin with '-'.
  id=$(head -c 16 /dev/urandom | base64 | tr -d '=' | tr '+/' 'AB')
  java_with_kafka -Xmx256m -XX:TieredStopAtLevel=1
  as_server_user "${COMMAND[@]}" kafka.tools.StorageTool format -t "$id" -c "$dir/format.properties" \
    >>"$INSTANCE_DIR/kafka.log" 2>&1 </dev/null || return 1
  rm "$dir/format.properties"
  mv -T "$dir/data.new" "$dir/data"
}

start_kafka() {
  write_properties "$INSTANCE_DIR/kafka/server.properties" "$INSTANCE_DIR/kafka/data"
  # It lives for minutes on few cores: with the second compiler its CPU time until it is warm is several times what it has
  # to do.
  java_with_kafka -Xms512m -Xmx1g -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError
  spawn kafka "${COMMAND[@]}" kafka.Kafka "$INSTANCE_DIR/kafka/server.properties"
}

ready_kafka() {
  is_port_taken "$KAFKA_PORT" && kcat -b "127.0.0.1:$KAFKA_PORT" -L -m 5 >/dev/null 2>&1
}

# Short names are completed to the package that Kafka keeps the tool in. Those that talk to a broker learn its address;
# StorageTool and DumpLogSegments work on files.
kafka_tool() {
  (($#)) || usage_error "kafka-tool wants a class, such as TopicCommand"
  local class=$1 broker=()
  shift
  install_all
  [[ -f $INSTANCE_DIR/ports ]] || die "instance '$INSTANCE' was never started"
  load_ports
  broker=(--bootstrap-server "127.0.0.1:$KAFKA_PORT")
  case $class in
    StorageTool | DumpLogSegments) class=kafka.tools.$class broker=() ;;
    ConfigCommand) class=kafka.admin.$class ;;
    ConsumerGroupCommand | ShareGroupCommand) class=org.apache.kafka.tools.consumer.group.$class ;;
    ConsoleConsumer) class=org.apache.kafka.tools.consumer.$class ;;
    ReassignPartitionsCommand) class=org.apache.kafka.tools.reassign.$class ;;
    # It wants the address as one of --producer-props.
    ProducerPerformance) class=org.apache.kafka.tools.$class broker=() ;;
    *.*) broker=() ;;
    *) class=org.apache.kafka.tools.$class ;;
  esac
  java_with_kafka -Xmx512m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
  exec "${COMMAND[@]}" "$class" "${broker[@]}" "$@"
}
