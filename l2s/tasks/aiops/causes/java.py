"""Causes of trouble in Java applications."""

from l2s.tasks.aiops.records import Phrases, say

CAUSES: dict[str, Phrases] = {
    "heap_leak": say(
        "a heap memory leak|heap memory leak|memory leak|heap leak|heap exhaustion|heap exhausted|exhausted heap|"
        "heap is full|full heap|leaking memory|leaks memory|[heap/memory/heap memory/Java heap/JVM heap/object/"
        "objects] [leak/leaks/leakage/leaking/exhaustion]|[heap/heap memory/Java heap/JVM heap/heap space/Java heap "
        "space] ~ [exhausted/full/leaking/leaked/filled up/used up/too small/out of memory]|[leaked/leaking/leaks/"
        "leak of/unreleased/retained] [objects/heap/memory/instances]|leak in the heap|[out of/ran out of/running "
        "out of/insufficient/not enough] [heap/heap space/heap memory/Java heap/Java heap space/JVM heap]|[unbounded/"
        "unlimited] [growth/collection/cache/map/list/accumulation]|grows without bound|heap ran out|heap overflow",
        "堆内存泄漏|内存泄漏|内存泄露|堆内存耗尽|堆内存不足|堆已满|[堆/堆内存/内存/对象/堆空间/Java 堆/JVM 堆]~[泄漏/"
        "泄露/溢出]|[堆/堆内存/堆空间/Java 堆/JVM 堆/Java 堆内存]~[耗尽/不足/用尽/已满/用完/占满]|内存空间不足|"
        "对象~[未释放/堆积/累积]|[无限/无界][增长/堆积/累积]|未释放的对象",
    ),
    "deadlock": say(
        "a deadlock between threads|deadlock|deadlocked|thread deadlock|lock ordering problem|circular wait|lock "
        "order inversion|[dead lock/deadlocking/deadlocks]|[mutual/mutually] [blocking/blocked/locking/waiting]|"
        "[block/blocked/blocking] each other|[lock/locking] [cycle/inversion/order problem/ordering issue/order "
        "conflict]|[cyclic/circular] [wait/waiting/lock/locking/dependency/lock dependency]|[inconsistent/opposite/"
        "wrong/different/conflicting/reversed] [lock/locking/lock acquisition] order|locks … in [opposite/different/"
        "inconsistent/reverse] order",
        "线程死锁|死锁|循环等待|加锁顺序错误|[互相/相互][阻塞/锁死/死锁/锁住]|[循环/环形][加锁/锁/等待/依赖]|[加锁/"
        "锁/获取锁的/获取锁/锁获取]顺序[不一致/相反/不同/错误/冲突]|锁循环",
    ),
    "thread_pool_full": say(
        "the thread pool is exhausted|thread pool is exhausted|thread pool exhausted|thread pool exhaustion|thread "
        "pool is full|thread pool saturation|thread pool saturated|saturated thread pool|thread starvation|exhausted "
        "thread pool|full thread pool|[thread pool/executor/executor pool/worker pool] ~ [exhausted/full/saturated/"
        "overloaded/depleted/used up/out of threads/starved/busy]|[thread pool/executor/worker pool/executor pool/"
        "thread/worker thread] [exhaustion/saturation/starvation/overload/depletion]|[exhausted/saturated/full/"
        "overloaded/depleted] [thread pool/executor/worker pool/executor pool/executor thread pool]|all [threads/"
        "worker threads/executor threads/pool threads] ~ [busy/blocked/stuck/occupied/in use/taken/waiting/hanging]|"
        "no [free/available/idle] [threads/worker threads]|[out of/ran out of/running out of] [threads/worker "
        "threads]|threads ~ exhausted",
        "线程池耗尽|线程池已满|线程池被占满|线程池饱和|线程饥饿|线程耗尽|[线程池/执行器/执行器线程池/线程池线程/"
        "工作线程池]~[耗尽/满/占满/饱和/用尽/用完/过载/打满]|[线程/工作线程/所有线程/全部线程]~[耗尽/占满/用尽/"
        "全部阻塞/被占用/全忙]|[没有/无][空闲/可用]线程|线程[不足/数不足]",
    ),
    "library_conflict": say(
        "a library version conflict|library version conflict|library conflict|version conflict|dependency conflict|"
        "incompatible library|incompatible dependency|incompatible version|version mismatch|jar conflict|mismatched "
        "library|[library/dependency/version/jar/classpath/class path/library version/dependency version/jar version/"
        "classloading] [conflict/clash/mismatch/incompatibility/conflicts]|conflicting [library/versions/"
        "dependencies/jars/jar versions/library versions/libraries/dependency versions]|conflicting versions of ~ "
        "[library/jar]|duplicate [library/jar/dependency/libraries/jars/jar versions/library versions]|[incompatible/"
        "mismatched/wrong] [library/libraries/dependency/dependencies/version/versions/jar/library version/jar "
        "version/dependency version]|[mixed/multiple/several] [versions/library versions/jar versions]|[binary/API/"
        "library] incompatibility|dependency hell|version ~ conflict",
        "依赖版本冲突|依赖冲突|版本冲突|库版本冲突|版本不兼容|依赖不兼容|jar 包冲突|jar包冲突|[依赖/库/版本/jar 包/"
        "jar/类库/类路径/依赖库/依赖包/库版本/依赖版本]~[冲突/不兼容/不匹配/不一致]|[冲突/不兼容/重复]的[依赖/库/"
        "版本/jar 包/jar/类库]|[重复依赖/多个版本/多版本冲突/重复的 jar]",
    ),
    "schema_mismatch": say(
        "an incompatible message schema|incompatible message schema|incompatible schema|schema mismatch|schema "
        "incompatibility|incompatible message format|message format mismatch|message format changed|message schema "
        "changed|schema change|[schema/message format/data format/format] ~ [mismatch/incompatibility/conflict/"
        "incompatible/mismatched/changed/change/drift/evolution/not compatible]|[incompatible/mismatched/changed/"
        "breaking] [schema/message schema/message format/data format/message/messages/record format/schema change/"
        "schema version/format/format change/schema evolution/event schema/message structure]|schema version "
        "[mismatch/conflict/incompatibility]|[producer/consumer] ~ incompatible [schema/schemas/format/formats]|"
        "incompatible [producer/consumer] [schema/format]",
        "消息格式不兼容|消息结构不兼容|模式不兼容|schema 不兼容|消息格式变更|消息格式不一致|数据格式不兼容|[消息格式/"
        "消息结构/模式/schema/数据格式/序列化格式/消息 schema/消息模式/数据结构/字段格式/消息体格式]~[不兼容/不匹配/"
        "不一致/变更/变化/改变/冲突/变动]|[不兼容/变更/不匹配]的[消息格式/schema/模式/消息结构/数据格式/消息]|"
        "格式不兼容",
    ),
    "gc_pause": say(
        "long garbage collection pauses|garbage collection pauses|garbage collection pause|garbage collection|long "
        "GC pauses|GC pauses|GC pause|stop-the-world pause|stop-the-world|[GC/garbage collection/garbage collector/"
        "full GC/JVM/collector/stop-the-world GC] [pause/pauses/stall/stalls/stop/stops/freeze/freezes/thrashing/"
        "overhead/pressure/delay/pausing]|[long/excessive/lengthy/extended/prolonged/frequent] [GC/garbage "
        "collection/full GC/full GCs/garbage collections/JVM pause/JVM pauses/stop-the-world/pause full]|stop the "
        "world|JVM ~ [paused/frozen/stalled/froze]|[paused/stalled/frozen] by [GC/garbage collection/full GC]",
        "垃圾回收停顿过长|垃圾回收停顿|GC 停顿|GC停顿|垃圾回收暂停|长时间 GC|全局停顿|[GC/垃圾回收/垃圾收集/Full GC/"
        "JVM]~[停顿/暂停/过长/卡顿/停顿过长/时间过长/暂停过长/耗时过长]|[长时间/过长的/频繁/频繁的/长时间的][GC/"
        "垃圾回收/Full GC/停顿/GC 停顿]|STW|全停顿",
    ),
}
