"""Every cause that an answer may name, as the right one of some family or as a wrong one."""

from __future__ import annotations

from l2s.tasks.aiops.records import Phrases, say

NO_FAULT = "no_fault"  # the wrong verdict on every log that has a fault

CAUSES: dict[str, Phrases] = {
    NO_FAULT: say(
        "no fault;|no faults;|there [is/are/was/were] no [fault/faults];|no [fault/faults] [found/detected/was found];|"
        ";no [failure/incident/outage/problem/issue/real issue/anomaly];|no incident occurred|there [is/was] no "
        "[failure/incident/outage/problem/issue/real issue];|nothing [is/was/looks/seems] [wrong/broken/faulty];|"
        "nothing [wrong/failed/broke];|;healthy;|;all healthy;|[everything/all/system/log] [is/looks/seems/was] "
        "[healthy/fine/normal/in order/well];|all systems [are normal/normal/healthy];|"
        ";[operating/running/working] normally;|everything [works/runs/operates] [normally/as expected]|"
        "no action [is/was] [needed/required/necessary]|no action [needed/required/necessary]",
        ";[没有/无/并无/没有任何/未见/未发生/没有发生][故障/异常/问题/事故];|[系统/日志/服务/这里/整体][没有/无/并无/未发生]"
        "[故障/异常/问题/事故]|不存在[故障/任何故障/异常];|未发现[故障/任何故障/异常/任何异常];|没有任何[故障/异常];|"
        "[一切/系统/系统运行/整体/整体运行]正常|;[运行/服务]正常;|;健康;|系统健康|日志正常|无需处理|不需要处理|无需任何处理|无需采取措施",
    ),
    # hosts
    "disk_full": say(
        "the disk is full|disk full|full disk|filesystem full|full filesystem|filesystem is full|volume is full|"
        "partition is full|full partition|disk filled up|out of disk space|disk space exhausted|disk space exhaustion|"
        "no disk space|lack of disk space|insufficient disk space",
        "磁盘已满|磁盘写满|磁盘满|磁盘空间耗尽|磁盘空间不足|分区已满|文件系统已满|没有磁盘空间",
    ),
    "memory_exhausted": say(
        "the host ran out of memory|ran out of memory|out of memory|out-of-memory|OOM|memory exhaustion|"
        "memory exhausted|exhausted memory|insufficient memory|lack of memory|not enough memory",
        "主机内存耗尽|内存耗尽|内存不足|内存用尽|内存溢出",
    ),
    "clock_wrong": say(
        "the system clock is wrong|clock skew|clock drift|time drift|time skew|clock is wrong|wrong clock|"
        "clock out of sync|time synchronization failure|clock not synchronized|incorrect system time",
        "系统时钟错误|时钟漂移|时钟偏移|时钟不同步|时间不同步|系统时间错误|时间同步失败",
    ),
    "disk_failing": say(
        "a failing disk|failing disk|disk failure|disk is failing|failing drive|drive failure|bad sectors|bad disk|"
        "faulty disk|dying disk|defective disk|disk hardware failure",
        "磁盘硬件故障|磁盘故障|硬盘故障|磁盘损坏|硬盘损坏|磁盘坏道|坏扇区",
    ),
    "conntrack_full": say(
        "the connection tracking table is full|connection tracking table is full|connection tracking table full|"
        "conntrack table is full|conntrack table full|full conntrack table|conntrack exhaustion|conntrack exhausted|"
        "conntrack limit",
        "连接跟踪表已满|连接跟踪表满|连接跟踪表耗尽|conntrack 表已满|conntrack 表满|conntrack 耗尽",
    ),
    "descriptors_exhausted": say(
        "the process ran out of file descriptors|ran out of file descriptors|out of file descriptors|"
        "file descriptor exhaustion|file descriptors exhausted|file descriptor limit|file descriptor leak|"
        "too many open files|open file limit|fd exhaustion|fd limit",
        "文件描述符耗尽|文件描述符用尽|文件描述符不足|文件描述符泄漏|打开文件数过多|文件句柄耗尽|句柄泄漏",
    ),
    "intrusion": say(
        "an intrusion|intrusion|brute force|brute-force|break-in|attacker|hacked|compromised|security breach",
        "入侵|暴力破解|攻击者|被攻破|黑客",
    ),
    "network_down": say(
        "a network outage|network outage|network failure|network problem|network issue|network partition|"
        "network connectivity|packet loss|switch failure",
        "网络中断|网络故障|网络问题|网络分区|网络不通|丢包",
    ),
    # services
    "pool_exhausted": say(
        "the connection pool is exhausted|connection pool is exhausted|connection pool exhausted|"
        "connection pool exhaustion|exhausted connection pool|pool exhaustion|connection leak|leaked connections|"
        "connections leaked|connection pool is full",
        "连接池耗尽|连接池已满|连接池用尽|连接池被占满|连接泄漏|连接泄露",
    ),
    "certificate_expired": say(
        "an expired certificate|expired certificate|expired TLS certificate|expired SSL certificate|"
        "certificate expired|certificate has expired|certificate is expired|certificate expiry|certificate expiration",
        "证书已过期|证书过期|证书失效|TLS 证书过期",
    ),
    "dns_broken": say(
        "DNS resolution failure|DNS failure|DNS outage|DNS problem|DNS issue|DNS resolution|name resolution failure|"
        "name resolution fails|DNS server is down|DNS is down",
        "DNS 解析失败|DNS解析失败|DNS 故障|DNS故障|域名解析失败|域名解析故障",
    ),
    "rate_limited": say(
        "requests are being rate limited|rate limit|rate limits|rate limited|rate-limited|rate limiting|throttled|"
        "throttling|quota exceeded|quota exhausted|exceeded quota",
        "请求被限流|限流|限速|速率限制|配额耗尽|配额超限|超出配额",
    ),
    "bad_config": say(
        "a wrong configuration|wrong configuration|misconfiguration|misconfigured|bad configuration|"
        "incorrect configuration|configuration error|configuration mistake|config error|bad config|wrong config|"
        "faulty configuration",
        "配置错误|错误的配置|错误配置|配置有误|配置变更错误|配置不当",
    ),
    "cache_stampede": say(
        "a cache stampede|cache stampede|thundering herd|cache avalanche|mass cache expiry|"
        "simultaneous cache expiry|cache keys expired at once|cache entries expired together",
        "缓存雪崩|缓存击穿|缓存集中失效|缓存同时失效|缓存大面积失效|惊群",
    ),
    "third_party_down": say(
        "a third-party outage|third-party outage|third party outage|external provider outage|provider outage|"
        "provider is down|third-party provider failure|payment provider",
        "第三方服务中断|第三方故障|外部供应商故障|支付渠道故障|第三方服务故障",
    ),
    "database_down": say(
        "a database outage|database outage|database is down|database failure|database crash|database crashed|"
        "database server is down|database is unavailable",
        "数据库宕机|数据库故障|数据库崩溃|数据库不可用",
    ),
    "bad_release": say(
        "a faulty release|faulty release|bad deployment|bad release|buggy release|code bug|software bug|"
        "regression in the release|application bug",
        "发布版本有缺陷|错误发布|代码缺陷|程序缺陷|代码 bug|版本缺陷",
    ),
    # web servers
    "upstream_down": say(
        "the upstream process is down|upstream process is down|upstream is down|upstream server is down|"
        "upstream crashed|backend is down|backend crashed|backend process crashed|backend not running|"
        "upstream not running|application server is down",
        "上游进程已停止|上游服务宕机|上游宕机|上游崩溃|后端宕机|后端服务宕机|后端崩溃|后端未运行",
    ),
    "upstream_slow": say(
        "the upstream is too slow|upstream is too slow|slow upstream|slow backend|backend is too slow|"
        "backend is slow|upstream is slow|upstream latency|backend latency|overloaded upstream|overloaded backend|"
        "slow endpoint",
        "上游响应过慢|上游响应慢|上游过慢|后端响应慢|后端响应过慢|后端过慢|上游过载|后端过载",
    ),
    "body_limit": say(
        "the request body size limit is too small|request body size limit|body size limit|request size limit|"
        "upload size limit|upload limit|client_max_body_size|body limit",
        "请求体大小限制过小|请求体大小限制|请求体限制|上传大小限制|上传限制|client_max_body_size",
    ),
    "worker_limit": say(
        "the worker connection limit is reached|worker connection limit|worker connections limit|"
        "worker_connections limit|worker connections exhausted|worker_connections exhausted|"
        "out of worker connections|too few worker connections|connection limit of the worker",
        "工作进程连接数达到上限|工作连接数上限|工作进程连接数耗尽|工作连接数耗尽|worker 连接数耗尽|worker "
        "连接数上限|连接数上限过小",
    ),
    "traffic_flood": say(
        "a traffic flood|traffic flood|HTTP flood|request flood|denial of service|denial-of-service|DoS attack|DDoS|"
        "aggressive crawler|aggressive scraper|scraper|crawler flood|bot traffic|abusive client",
        "流量攻击|拒绝服务攻击|DDoS|CC 攻击|恶意爬虫|爬虫流量|请求洪水|刷流量",
    ),
    # Java
    "heap_leak": say(
        "a heap memory leak|heap memory leak|memory leak|heap leak|heap exhaustion|heap exhausted|exhausted heap|"
        "heap is full|full heap|leaking memory|leaks memory",
        "堆内存泄漏|内存泄漏|内存泄露|堆内存耗尽|堆内存不足|堆已满",
    ),
    "deadlock": say(
        "a deadlock between threads|deadlock|deadlocked|thread deadlock|lock ordering problem|circular wait|"
        "lock order inversion",
        "线程死锁|死锁|循环等待|加锁顺序错误",
    ),
    "thread_pool_full": say(
        "the thread pool is exhausted|thread pool is exhausted|thread pool exhausted|thread pool exhaustion|"
        "thread pool is full|thread pool saturation|thread pool saturated|saturated thread pool|thread starvation|"
        "exhausted thread pool|full thread pool",
        "线程池耗尽|线程池已满|线程池被占满|线程池饱和|线程饥饿|线程耗尽",
    ),
    "library_conflict": say(
        "a library version conflict|library version conflict|library conflict|version conflict|dependency conflict|"
        "incompatible library|incompatible dependency|incompatible version|version mismatch|jar conflict|"
        "mismatched library",
        "依赖版本冲突|依赖冲突|版本冲突|库版本冲突|版本不兼容|依赖不兼容|jar 包冲突|jar包冲突",
    ),
    "schema_mismatch": say(
        "an incompatible message schema|incompatible message schema|incompatible schema|schema mismatch|"
        "schema incompatibility|incompatible message format|message format mismatch|message format changed|"
        "message schema changed|schema change",
        "消息格式不兼容|消息结构不兼容|模式不兼容|schema 不兼容|消息格式变更|消息格式不一致|数据格式不兼容",
    ),
    "gc_pause": say(
        "long garbage collection pauses|garbage collection pauses|garbage collection pause|garbage collection|"
        "long GC pauses|GC pauses|GC pause|stop-the-world pause|stop-the-world",
        "垃圾回收停顿过长|垃圾回收停顿|GC 停顿|GC停顿|垃圾回收暂停|长时间 GC|全局停顿",
    ),
    # Kubernetes
    "image_missing": say(
        "the image tag does not exist|image tag does not exist|image does not exist|nonexistent image tag|"
        "nonexistent image|missing image tag|missing image|wrong image tag|bad image tag|invalid image tag|"
        "incorrect image tag|image tag is wrong",
        "镜像标签不存在|镜像不存在|镜像标签错误|镜像 tag 错误|镜像tag不存在|错误的镜像标签",
    ),
    "memory_limit": say(
        "the container memory limit is too low|memory limit is too low|memory limit too low|low memory limit|"
        "container memory limit|exceeded its memory limit|exceeds its memory limit|hit its memory limit|OOMKilled|"
        "OOM killed",
        "容器内存限制过低|容器内存上限过低|内存限制过低|内存上限过低|超出内存限制|超过内存限制|内存超限",
    ),
    "cluster_capacity": say(
        "the cluster lacks CPU capacity|lacks CPU capacity|insufficient CPU|insufficient cluster capacity|"
        "not enough CPU|lack of CPU|insufficient capacity|cluster capacity|CPU shortage|CPU request is too large",
        "集群 CPU 资源不足|集群资源不足|CPU 资源不足|CPU资源不足|CPU 不足|集群容量不足|资源不足",
    ),
    "probe_wrong": say(
        "a misconfigured liveness probe|misconfigured liveness probe|liveness probe is misconfigured|"
        "misconfigured probe|probe misconfiguration|wrong liveness probe|wrong probe port|probe port is wrong|"
        "incorrect probe port|liveness probe uses the wrong port|probe checks the wrong port",
        "存活探针配置错误|探针配置错误|探针端口错误|探针端口配置错误|存活探针端口错误|错误的探针端口",
    ),
    "secret_missing": say(
        "a missing secret|missing secret|secret is missing|secret does not exist|nonexistent secret|absent secret|"
        "secret was not created",
        "缺少 Secret|Secret 缺失|Secret 不存在|缺失的 Secret|密钥缺失|缺少密钥|密钥不存在",
    ),
    "volume_attached_elsewhere": say(
        "the volume is still attached to another node|volume is still attached to another node|"
        "still attached to another node|attached to another node|attached to a different node|"
        "stale volume attachment|stuck volume attachment|volume attachment conflict",
        "存储卷仍挂载在另一节点|仍挂载在另一节点|仍挂载在其他节点|卷挂载冲突|残留的卷挂载|卷被其他节点占用",
    ),
    "node_failure": say(
        "a node failure|node failure|node crash|node crashed|node is down|failed node|node outage",
        "节点故障|节点宕机|节点崩溃",
    ),
    # databases
    "connection_limit": say(
        "the database connection limit is reached|database connection limit|connection limit is reached|"
        "connection limit|connection slots exhausted|too many connections|max_connections reached|"
        "max_connections limit|ran out of connections|maximum connections",
        "数据库连接数达到上限|连接数达到上限|连接数上限|连接数耗尽|连接数过多|连接数已满|达到最大连接数",
    ),
    "index_missing": say(
        "a missing index|missing index|index is missing|lack of an index|no index|unindexed|full table scan|"
        "sequential scan",
        "缺少索引|索引缺失|没有索引|未建索引|无索引|全表扫描",
    ),
    "long_transaction": say(
        "a long-running transaction holds locks|long-running transaction|long running transaction|long transaction|"
        "open transaction holds|idle transaction|uncommitted transaction|lock contention|abandoned transaction",
        "长事务持有锁|长事务|未提交的事务|未提交事务|事务未提交|空闲事务|锁竞争|锁争用",
    ),
    "replica_lag": say(
        "replication lag|replica lag|lagging replica|replica is lagging|replica is behind|replica lags behind|"
        "replication delay|stale replica",
        "复制延迟|主从延迟|副本延迟|从库延迟|副本落后|从库落后|同步延迟",
    ),
    "wraparound": say(
        "impending transaction ID wraparound|transaction ID wraparound|transaction id exhaustion|xid wraparound|"
        "xid exhaustion|wraparound|vacuum is not keeping up|vacuum has fallen behind",
        "事务 ID 即将回卷|事务 ID 回卷|事务ID回卷|事务号回卷|事务号耗尽|清理不及时|vacuum 滞后",
    ),
    "old_credentials": say(
        "outdated credentials after a password rotation|outdated credentials|stale credentials|old credentials|"
        "outdated password|old password|stale password|wrong password|password rotation|wrong credentials|"
        "rotated password",
        "密码轮换后仍使用旧凭据|旧凭据|旧密码|凭据已过时|凭据过时|过期凭据|密码错误|凭据错误|密码轮换",
    ),
}
