"""Faulty parts of a web server or behind one, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "upstream_down": parts(
        "[{svc}/upstream/backend/application/app/process/app server/application server/{ip}:{port}/{ip}/port {port}/"
        "listener] & [down/dead/crash/stop/not run/not listen/exit/die/offline/unavailable/unreachable/not up/kill/"
        "terminate/gone/went away/shut down/not started/refuses/refusing/rejects/rejecting/not accept/closed/no "
        "process/no running/not alive/fell over/fallen over/vanish/not there/lost/missing]|[nothing/nobody/no process/"
        "no one/no listener/none] & [listen/accept/bound/port/run/alive]|no [listener/live backend/backend/live "
        "upstream/upstream/backends] … [alive/left/up/listening/running/available]",
        "[{svc}/上游/后端/应用/进程/服务/{ip}:{port}/{ip}/端口 {port}/{port} 端口] & [挂/宕/崩/退出/停了/已停/停掉/"
        "停止/停机/停服/未运行/没有运行/没运行/没启动/未启动/没起/没在/没有在/未在/不在/无监听/未监听/没有监听/"
        "没人监听/无人监听/不可用/不可达/连不上/不通/down/下线/死/不存活/没有存活/没存活/没了/没有服务/无服务/拒绝/"
        "拒连/被拒]|[没有/无/没]~[进程/人/服务]~监听",
    ),
    "upstream_slow": parts(
        "[{svc}/backend/upstream/application/report/endpoint/query/response/service] & [slow/slowly/slower/slowness/"
        "too long/longer than/more than {secs}/over {secs}/exceed/take minutes/takes minutes/hundreds of seconds/need "
        "longer/need minutes/need ages/ages/forever/overload/sluggish/lag/late/timeout/time out/timing out/latency/"
        "stall/bog down/bogged/crawl/cannot keep up/not keep up/not in time/more time/performance/hang/hanging/hung/"
        "unresponsive/long-running/long running/not answer/not respond/not reply/not finish/within/minutes to/too "
        "much time/struggle/choke/drag]|[need/take] longer than|[give/gives/gave] up [waiting/on]",
        "[{svc}/上游/后端/报表/接口/应用/服务/响应/处理] & [慢/过长/太久/很久/超时/耗时/迟迟/过载/来不及/卡/拖/性能/"
        "不及时/半天/久/不过来/超过 {secs}/超出 {secs}/长达/龟速/不返回/不回/没返回/未返回/几分钟/数分钟/数百秒/等不及/"
        "等不到]",
    ),
    "body_limit": parts(
        "[body/request body/upload/payload/entity/request size/attachment/client_max_body_size/file/size] & [limit/too "
        "large/too big/bigger than/larger than/exceed/above/over/maximum/max/cap/ceiling/1m/1 MB/oversize/beyond/"
        "restriction/restrict/default/more than/permit/allow/not allowed/too small/too low/refuse/reject/tight]|nginx "
        "& [only/just/refuse/cap/limit/allow/accept/take] & [1m/1 MB]",
        "[请求体/上传/文件/body/client_max_body_size/附件/报文体/包体/体积/请求] & [限制/上限/超过/超出/超限/过大/太大/"
        "超大/1m/大于/1 MB/限得/限死/挡/不够/只许/只准/只允许/过小/远超]|nginx & [只许/只准/只允许/只给/限/仅/默认] & "
        "[1m/1 MB]",
    ),
    "worker_limit": parts(
        "[worker_connections/worker connection/connection slot/slot/nginx connection/connection capacity/connection "
        "limit/worker/nginx] & <exhausted>|[worker_connections/worker connection/connection slot/slot/nginx slot/"
        "connection limit] & [hold/held/hog/occupy/tied up/blocked by/pin/reach/maximum/max/ceiling/hit/cap/limit/"
        "used]|[keep-alive/keepalive/idle/idle connection/idle client/idle socket] & [hold/hog/occupy/tie up/tied up/"
        "tying up/pin/exhaust/eat/ate/eaten/fill/starve/take/block/clog/hoard/sit on] & [slot/connection/nginx]|nginx "
        "~ [out of connections/full]|no free ~ [slot/connection slot/connection]|all {conns} & [taken/used/in use/"
        "occupied]|nginx & [connection/slot] & [ceiling/cap/limit/maximum/max] & [reach/hit/at/exceed]|nginx & "
        "[cannot accept/not accept] & [more/new/client/connection]",
        "[worker_connections/worker 连接/连接槽/槽/工作进程连接/nginx 连接/连接数/nginx/worker] & <exhausted>|[长连接/"
        "keep-alive/keepalive/空闲连接/空闲/空连接] & [占/不释放/囤/霸/挤/耗/塞/吃]|worker_connections & [用满/打满/"
        "上限/达/到]|{conns} & [槽/连接] & [全/占/满/用]|nginx & [接不了/不接/无法接受/停止接受] & [连接/客户端]",
    ),
    "traffic_flood": parts(
        "[{ip}/client/address/IP/source/host/bot/crawler/scraper/one/single/requests/traffic/visitor/{page}] & [flood/"
        "hammer/abuse/abusive/abusively/attack/attacker/DoS/DDoS/excessive/excessively/too many requests/overload/"
        "overwhelm/bombard/scrape/scraping/crawl/far more/way more/far above/far beyond/many times/storm/swamp/spam/"
        "excess/hog/surge/too hard/way too/aggressive/aggressively/monopolise/monopolize/runaway/barrage/blast/pound/"
        "batter/besiege/rapid-fire/fire/all capacity/eat/relentless/brute]|[scraper/crawler/bot/flood] … [{ip}/"
        "traffic/one client/one address]|{rps} & [request/per second/a second] & [one/single]",
        "[{ip}/客户端/地址/IP/来源/单一/单个/单源/请求/流量/爬虫] & [刷/攻击/爬取/爬虫/高频/极高/大量请求/海量/洪/过多/"
        "轰炸/滥用/恶意/暴力/突增/激增/暴涨/暴增/打爆/打垮/过量/过大/压垮/CC/猛/疯狂/疯/狂/异常请求/异常流量/刷量/"
        "扫/拖垮/太猛/太多/冲/占掉/霸占]|[刷/狂刷/猛刷/狂打/猛打]~/{page}|每秒 {rps} & [请求/次]",
    ),
}
